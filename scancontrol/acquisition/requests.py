"""Asking the microscope for frames: which were asked for, which wait to be, and of which nobody knows.

What an earlier process asked for and never acknowledged is collected before anything else is exposed.

Of whom a frame is asked is on the disk before it is asked, until its end has told how far it came. A frame of which
that is not known is never asked for again: the server that knew is gone, and may have exposed more than it could send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from scancontrol.acquisition.ahead import PathsAhead
from scancontrol.acquisition.channels import chosen_channels
from scancontrol.acquisition.contracts import DoseAccount, MicroscopeLike
from scancontrol.acquisition.progress import Progress
from scancontrol.errors import (
    DoseLimitPassed,
    InvalidInput,
    LinkError,
    RecordingError,
    RequestRefused,
    ScanControlError,
    StorageError,
)
from scancontrol.paths import ScanPath
from scancontrol.recent import Recent
from scancontrol.recording import RecordingWriter
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Notice, Start

__all__ = ["FrameRequests", "collect_asked_before", "finish_reason_of"]

_TICK_S = 0.01
_PATHS_REGISTERED = 32  # the microscope forgets the oldest of 64
_RETRY = ("queue_full", "not_now", "no_session", "unknown_path")  # refusals that pass by themselves
_UNKNOWN = "frame {} was begun at a microscope's server that is gone, or lost samples of it: none is exposed again"


class FrameRequests:
    """The frames that the microscope was asked for and has not ended, in the thread that owns the link.

    ``ahead`` of them wait in its queue while one is scanned; ``area`` names the area of the specimen to it,
    ``dose`` is told of every scan before it is, and ``progress`` what came of asking.
    """

    def __init__(
        self,
        link: MicroscopeLike,
        recording: RecordingWriter,
        dose: DoseAccount,
        ahead: int,
        area: str,
        progress: Progress,
    ) -> None:
        self._link, self._recording, self._dose = link, recording, dose
        self._ahead, self._area, self._progress = ahead, area, progress
        self._open: dict[int, ScanPath] = {}  # asked for, and no End has come
        self._again: deque[tuple[int, ScanPath]] = deque()  # to be asked for again
        self._doubtful: set[int] = set()  # of the open ones: asked for, and the answer was lost with the session
        self._registered: Recent[str, None] = Recent(_PATHS_REGISTERED)
        self._next_frame = 0

    def path_of(self, frame: int) -> ScanPath | None:
        """The path of a frame that was asked for and has not ended."""
        return self._open.get(frame)

    @property
    def any_open(self) -> bool:
        """Whether a frame was asked for and has not ended."""
        return bool(self._open)

    @property
    def any_again(self) -> bool:
        """Whether a frame waits to be asked for again."""
        return bool(self._again)

    @property
    def any_doubtful(self) -> bool:
        """Whether the answer to an asked frame was lost, so that nobody knows if it was taken up."""
        return bool(self._doubtful)

    def ended(self, frame: int) -> ScanPath | None:
        """The microscope ended a frame; its path, if it was open."""
        self._doubtful.discard(frame)
        return self._open.pop(frame, None)

    def ask_again(self, frame: int, path: ScanPath) -> None:
        """Go on with a frame that was interrupted, before any new one."""
        self._again.append((frame, path))

    def forget_again(self) -> None:
        """Do not go on with what was interrupted."""
        self._again.clear()

    def settle_doubts(self) -> None:
        """All has come that there was, and no end of these: they were never taken up, and are asked for again."""
        for frame in sorted(self._doubtful):
            self._withdraw(frame)
            self._again.append((frame, self._open.pop(frame)))
        self._doubtful.clear()

    def fill(self, ahead: PathsAhead, may_go_on: Callable[[], bool]) -> None:
        """Keep the microscope's queue filled, for as long as ``may_go_on``."""
        while may_go_on() and not self._doubtful and len(self._open) <= self._ahead:
            if self._again:
                frame, path = self._again.popleft()
            else:
                try:
                    taken = ahead.take()
                except ScanControlError as error:
                    self._progress.failed("planning", str(error))
                    return
                if taken is None:
                    return
                frame, path = self._next_frame, taken
                self._next_frame += 1
            if not self._ask_for(frame, path):
                self._again.appendleft((frame, path))
                return

    def _ask_for(self, frame: int, path: ScanPath) -> bool:
        """Ask for what is lacking of a frame; False if the microscope wants to be asked later."""
        try:
            self._recording.begin_frame(frame, path)
        except RecordingError as error:
            self._progress.failed("recording", str(error))
            return True
        first_index = self._recording.next_index(frame)
        if first_index == path.count:
            self._progress.already_complete(frame)
            return True
        if self._recording.asked_of(frame):
            self._progress.failed("fault", _UNKNOWN.format(frame))
            self._recording.end_frame(frame, "fault", exposed=first_index)
            return True
        asked = False
        try:
            self._register(path)
            most_electrons = self._dose.ask(frame, path, first_index)
            self._recording.note_asked(frame, self._link.server_id)
            asked = True
            header = self._recording.header
            self._link.start(
                path.path_id,
                header.series_id,
                frame,
                first_index,
                series_unique_id=header.series_unique_id,
                area=self._area,
                most_electrons=most_electrons,
            )
        except RequestRefused as refused:
            self._registered.pop(path.path_id, None)
            if asked and refused.code == "no_session":
                self._doubtful.add(frame)  # it may be taken up: it was asked, and the session ended before the answer
            else:
                self._withdraw(frame)
                if refused.code in _RETRY:
                    return False
                self._progress.failed("operator_blank" if refused.code == "beam_held" else "link", str(refused))
                return True
        except (InvalidInput, StorageError) as error:
            self._withdraw(frame)
            self._progress.failed(finish_reason_of(error), str(error))
            return True
        self._open[frame] = path
        return True

    def _register(self, path: ScanPath) -> None:
        if path.path_id not in self._registered:
            self._link.register(path.recipe)
        self._registered[path.path_id] = None

    def _withdraw(self, frame: int) -> None:
        """The microscope did not take it up: nothing of it was exposed."""
        self._dose.refused(frame)
        self._recording.note_asked(frame, "")


def finish_reason_of(error: ScanControlError) -> str:
    """The finish reason that an error is; a ledger that cannot be written is a disk to wait for, as a recording's."""
    match error:
        case LinkError():
            return "link"
        case RecordingError() | StorageError():
            return "recording"
        case DoseLimitPassed():
            return "dose_limit"
        case InvalidInput():
            return "planning"
    return "fault"


def collect_asked_before(
    link: MicroscopeLike,
    recording: RecordingWriter,
    others: Mapping[int, RecordingWriter],
    keep: Callable[[Chunk], int],
    wanted: Callable[[], bool],
    *,
    sent: tuple[str, ...] = (),
    patience_s: float,
    clock: Callable[[], float],
) -> None:
    """Take all that an earlier process asked for and the microscope still keeps, until nothing is left.

    It ends sooner where it is not ``wanted`` any more. What is of this recording goes through ``keep``; what is of
    ``others``, by their series, which wait to be ended after it, goes to those: the microscope says what it kept only
    once, and in the order in which it was exposed.

    ``sent`` are the detectors that the microscope sends, of which each recording takes its own.

    Then it is known how far every frame came that this server was asked for, and they may go on. Not so where
    samples are missing: the server let them go, because another client was connected, or the disk lost them.

    Raises:
        LinkError: nothing came for ``patience_s``.
        RecordingError: the disk does not take it.
    """
    recordings = {**others, recording.header.series_id: recording}
    deadline, missing = clock() + patience_s, set[int]()
    while wanted():
        event = link.receive(_TICK_S)
        if event is not None:
            deadline = clock() + patience_s
        if isinstance(event, End):
            whose = recordings.get(event.series_id, recording)
            if whose.next_index(event.frame) < event.next_index:
                missing.add(whose.header.series_id)
            _ended(whose, event)
        elif event is not None and not isinstance(event, Start | Notice):
            chunk = chosen_channels(event, sent, recordings.get(event.series_id, recording).header.channels)
            if event.series_id in others:
                _keep(link, others[event.series_id], chunk)
            else:
                keep(chunk)
        elif event is None and link.drained:
            for series_id, whose in recordings.items():
                if not (series_id in missing or link.lost_samples):
                    whose.settle(link.server_id)
            return
        elif clock() > deadline:
            raise LinkError("the microscope still keeps samples of this recording and does not send them")


def _keep(link: MicroscopeLike, recording: RecordingWriter, chunk: Chunk) -> None:
    """Write, then acknowledge."""
    following = recording.write_chunk(
        chunk.frame, chunk.first_index, chunk.values, chunk.monotonic_ns, chunk.utc_ns, chunk.session_electrons
    )
    if following >= chunk.first_index:
        link.acknowledge(chunk.series_id, chunk.frame, following)


def _ended(recording: RecordingWriter, end: End) -> None:
    """A frame that came to its end is ended here, too; one that was cut off goes on instead."""
    whole = end.reason == "completed" and recording.next_index(end.frame) == end.next_index
    if whole and end.series_id == recording.header.series_id:
        recording.end_frame(end.frame, end.reason, exposed=end.next_index, electrons=end.electrons, utc_ns=end.utc_ns)
