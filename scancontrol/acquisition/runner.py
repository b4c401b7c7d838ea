"""Running an acquisition: recipes in, samples safe on the disk, acknowledged, then handed on.

The order of every chunk is the point of this module: **written, then acknowledged, then handed to the sinks**.
What is not on the disk is never acknowledged, so the microscope keeps it and sends it again; and no sink can
keep a sample from the disk, because it is there before the sink hears of it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from scancontrol.acquisition import contracts
from scancontrol.acquisition.ahead import PathsAhead
from scancontrol.acquisition.channels import chosen_channels
from scancontrol.acquisition.commands import Commands
from scancontrol.acquisition.contracts import FrameEnd, FrameStart, MicroscopeLike, Sink
from scancontrol.acquisition.phases import TRANSITIONS, AcquisitionStatus, Event, Phase
from scancontrol.acquisition.progress import Progress
from scancontrol.acquisition.requests import FrameRequests, collect_asked_before, finish_reason_of
from scancontrol.acquisition.sinks import Fanout
from scancontrol.errors import LinkError, RecordingError, RequestRefused, ScanControlError
from scancontrol.paths import PathRecipe
from scancontrol.recording import RecordingWriter
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Notice, Start

__all__ = ["Acquisition"]

log = logging.getLogger(__name__)
_ABORT_AGAIN_S = 0.2
_TICK_S = 0.01  # how long a command from another thread may have to wait


class Acquisition:
    """One series of frames. :meth:`run` it in the thread that owns the link; everything else from any thread.

    ``recipes`` is any iterator of :class:`PathRecipe`: a plan's, or one that decides by what it has seen.
    ``frames_ahead`` frames wait in the microscope's queue while one is scanned (so that the beam never waits
    for a round trip; an adaptive iterator wants 0). With ``interval_s`` none waits there, and each is asked for so long
    after the one before it, at least. With ``interrupted="resume"`` a frame that the microscope
    ended because it did not hear from us goes on from its next unexposed sample; with ``"end"`` the
    acquisition ends; a link that stays lost for ``link_patience_s`` ends it, too. Once ``permit`` is taken back nothing
    more is asked for, and the microscope is told to abort until it has confirmed that. ``completed_as`` is the finish
    reason, and the message with it, of one that nothing else ends; ``on_turn`` is called often, in the same thread.
    ``area`` names the area of the specimen for the microscope's own limit; ``dose`` is told of every scan before the
    microscope is. ``recording`` may be a resumed one, with a link that was told what it ``have``: what the microscope
    still keeps is collected first, for it and for the ``others`` that were cut off, by their series. ``detectors`` are
    the channels that the microscope sends, of which a recording takes its own; empty, they are the same.

    The recording stays open at the end: close it with the finish reason, or abandon it where it is ``resumable``.
    """

    def __init__(
        self,
        link: MicroscopeLike,
        recording: RecordingWriter,
        recipes: Iterable[PathRecipe],
        sinks: Sequence[Sink] = (),
        *,
        frames_planned: int | None = None,
        frames_ahead: int = 1,
        interval_s: float = 0.0,
        interrupted: Literal["resume", "end"] = "resume",
        link_patience_s: float = 30.0,
        area: str = "",
        dose: contracts.DoseAccount | None = None,
        permit: contracts.Permit | None = None,
        completed_as: tuple[str, str] = ("completed", ""),
        others: Mapping[int, RecordingWriter] | None = None,
        detectors: tuple[str, ...] = (),
        on_status: Callable[[AcquisitionStatus], None] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        on_turn: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._recording, self._others, self._detectors = recording, others or {}, detectors  # see the class
        self._recipes = recipes
        self._tell = Fanout(sinks, clock).tell
        self._dose = dose or contracts.NoAccount()
        self._permit = permit or contracts.Unlimited()
        self._completed_as, self._on_turn = completed_as, on_turn
        self._cut_short = False  # not even what the microscope keeps is waited for
        self._stopped = False  # the permit was taken back, and that was obeyed
        self._abort_at: float | None = None  # when the microscope is to be told to abort (again); None: it need not be
        header = recording.header
        status = AcquisitionStatus(
            series_id=header.series_id,
            series_unique_id=header.series_unique_id,
            frames_planned=frames_planned,
            recording=recording.path.name,
        )
        self._progress = Progress(status, on_status or (lambda status: None), clock)
        self._frames_ahead = frames_ahead
        self._interval_s, self._next_frame_at = interval_s, -math.inf
        queued = frames_ahead if interval_s == 0 else 0
        self._requests = FrameRequests(link, recording, self._dose, queued, area, self._progress)
        self._interrupted = interrupted
        self._link_patience_s = link_patience_s
        self._on_notice = on_notice or (lambda notice: None)
        self._clock = clock
        self._commands = Commands(lambda: self._progress.phase)
        self._stamps: dict[int, int] = {}  # of the last chunk of each open frame
        self._lost_since: float | None = None  # since when the link is lost, by the clock
        self._disk_failed = False  # what comes is no longer acknowledged
        self._finished = threading.Event()

    @property
    def status(self) -> AcquisitionStatus:
        """Where the acquisition is: one consistent snapshot."""
        return self._progress.status

    def pause(self) -> bool:
        """Blank and keep the frame open; False if there is nothing to pause."""
        return self._commands.ask(Event.PAUSE, "")

    def resume(self) -> bool:
        """Go on after :meth:`pause`; False if it is not paused."""
        return self._commands.ask(Event.RESUME, "")

    def abort(self, reason: str = "asked for") -> bool:
        """Blank, and end once everything that was exposed is safe; False if it has ended or is ending."""
        return self._commands.ask(Event.ABORT, reason)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it came."""
        return self._finished.wait(timeout_s)

    def run(self) -> AcquisitionStatus:
        """Acquire until the recipes end, or something ends it; returns the last status.

        Errors of the disk, of the link and of the recipes end the acquisition with the beam blanked; they are
        in the status, not raised.
        """
        self._progress.step(Event.ARM)
        ahead = PathsAhead(self._recipes, self._frames_ahead)
        try:
            if self._recording.counts["frames"] or self._others:
                self._collect_asked_before(ahead)
            while not self._done(ahead):
                self._obey(ahead)
                self._ask_for_frames(ahead)
                event = self._link.receive(_TICK_S)
                if event is not None:
                    self._take(event)
                elif self._requests.any_doubtful and self._link.drained:
                    self._requests.settle_doubts()
                elif self._lost_since is not None and self._clock() - self._lost_since > self._link_patience_s:
                    raise LinkError(f"the microscope was silent for {self._link_patience_s:g} s")
        except ScanControlError as error:
            self._progress.failed(finish_reason_of(error), str(error))
            self._blank(str(error))
        except BaseException as error:
            self._progress.failed("fault", f"{type(error).__name__}: {error}")
            self._blank("the acquisition failed")
            raise
        finally:
            ahead.stop()
            self._progress.finish(self._completed_as, owed=self._requests.any_open)
            self._finished.set()
        return self._progress.status

    def _done(self, ahead: PathsAhead) -> bool:
        if self._requests.any_open:
            return False
        return self._progress.failure is not None or (ahead.exhausted and not self._requests.any_again)

    def _collect_asked_before(self, ahead: PathsAhead) -> None:
        def wanted() -> bool:
            self._obey(ahead)
            return not (self._cut_short or self._disk_failed)  # what was exposed is taken, whatever is wanted now

        collect_asked_before(
            self._link,
            self._recording,
            self._others,
            self._keep,
            wanted,
            sent=self._detectors,
            patience_s=self._link_patience_s,
            clock=self._clock,
        )

    def _obey(self, ahead: PathsAhead) -> None:
        """Do what other threads asked for."""
        self._on_turn()
        stop = self._permit.stopped
        if stop is not None and not self._stopped:
            self._stopped = True
            self._end_early(ahead, stop.reason, stop.message)
        if self._abort_at is not None and self._requests.any_open and self._clock() >= self._abort_at:
            self._blank(self._progress.status.message)
        while (command := self._commands.first()) is not None:
            event, reason = command
            if event in TRANSITIONS[self._progress.phase]:
                if event is Event.ABORT:
                    self._cut_short = True
                    self._end_early(ahead, "aborted", reason)
                elif not self._told(self._link.resume if event is Event.RESUME else self._link.pause, event):
                    return  # not heard: asked again, so that this end and the other come to one opinion
            self._commands.done(command)

    def _told(self, call: Callable[[], None], event: Event) -> bool:
        """Have the microscope pause or go on; False where it has not answered, or the session begins anew."""
        try:
            call()
        except RequestRefused as refused:
            log.warning("%s: %s", event.value, refused)
            if refused.code == "no_session":
                return False
            if event is Event.RESUME:  # the dead man ended the paused frame, which goes on as one that is interrupted
                self._progress.step(event)
            return True
        except LinkError as error:
            log.info("%s is not confirmed: %s", event.value, error)
            return False
        self._progress.step(event)
        return True

    def _end_early(self, ahead: PathsAhead, reason: str, message: str) -> None:
        ahead.stop()
        self._requests.forget_again()
        self._progress.failed(reason, message)
        if Event.ABORT in TRANSITIONS[self._progress.phase]:
            self._progress.step(Event.ABORT)
        self._blank(message)

    def _ask_for_frames(self, ahead: PathsAhead) -> None:
        """Keep the microscope's queue filled."""
        if self._progress.phase not in (Phase.ARMING, Phase.SCANNING):
            return
        in_turn = self._interval_s == 0 or self._requests.any_again  # what was interrupted goes on at once
        if not in_turn and (self._requests.any_open or self._clock() < self._next_frame_at):
            return
        self._requests.fill(ahead, lambda: self._progress.failure is None and self._permit.stopped is None)
        if not in_turn and self._requests.any_open:
            self._next_frame_at = self._clock() + self._interval_s

    def _take(self, event: Start | Chunk | End | Notice) -> None:
        if isinstance(event, Notice):
            self._noticed(event)
        elif event.series_id != self._progress.status.series_id:
            log.warning("frame %d of another series, %d, is not taken", event.frame, event.series_id)
        elif isinstance(event, Start):
            self._started(event)
        elif isinstance(event, End):
            self._ended(event)
        else:
            self._sampled(event)

    def _noticed(self, notice: Notice) -> None:
        if notice.kind == "link_lost":
            self._lost_since = self._clock()
        elif notice.kind in ("link_restored", "restarted"):
            self._lost_since = None
        log.info("microscope: %s: %s", notice.kind, notice.message)
        self._on_notice(notice)

    def _started(self, start: Start) -> None:
        path = self._requests.path_of(start.frame)
        if path is None:
            return
        if self._progress.phase is Phase.ARMING:
            self._progress.step(Event.BEGIN)
        self._progress.began(start, path)
        self._tell(
            "frame_started",
            FrameStart(start.series_id, start.frame, path, start.first_index, start.monotonic_ns, start.utc_ns),
        )

    def _sampled(self, sent: Chunk) -> None:
        chunk = chosen_channels(sent, self._detectors, self._recording.header.channels)
        if self._disk_failed:
            return  # never acknowledged: the microscope keeps it
        self._count(chunk)
        before = self._recording.next_index(chunk.frame)
        if self._keep(chunk) > max(before, chunk.first_index):
            fresh = chunk.values[:, max(0, before - chunk.first_index) :]
            self._tell("samples", chunk.frame, max(before, chunk.first_index), fresh)

    def _count(self, chunk: Chunk) -> None:
        """Hold the electrons against the limits; the samples are kept in any case."""
        try:
            self._dose.counted(chunk)
        except ScanControlError as error:
            if self._progress.failure is None:
                self._progress.failed(finish_reason_of(error), str(error))
                self._blank(str(error))

    def _keep(self, chunk: Chunk) -> int:
        """Write, then acknowledge. Returns the first sample that is not on the disk."""
        before = self._recording.next_index(chunk.frame)
        self._stamps[chunk.frame] = chunk.monotonic_ns
        try:
            following = self._recording.write_chunk(
                chunk.frame, chunk.first_index, chunk.values, chunk.monotonic_ns, chunk.utc_ns, chunk.session_electrons
            )
        except RecordingError as error:
            self._disk_failed = True
            self._progress.failed("recording", str(error))
            self._blank("the disk does not take the samples")
            return before
        self._progress.kept(chunk, before, following)
        if following >= chunk.first_index:
            self._link.acknowledge(chunk.series_id, chunk.frame, following)
        return following

    def _ended(self, end: End) -> None:
        path = self._requests.ended(end.frame)
        if path is None:
            return
        self._dose.ended(end)
        received = self._recording.next_index(end.frame)
        lost = max(0, end.next_index - received)
        if lost == 0 and end.utc_ns:
            self._settled(end.frame)
        goes_on = end.reason == "heartbeat_lost" and self._interrupted == "resume" and lost == 0
        if goes_on and self._progress.failure is None:
            self._requests.ask_again(end.frame, path)
            self._progress.interrupted()
            log.warning("frame %d was interrupted at sample %d and goes on", end.frame, end.next_index)
            return
        reason = end.reason if lost == 0 or end.reason != "completed" else "fault"
        if reason != "completed":
            was_well = self._progress.failure is None
            self._progress.failed(reason, end.message or f"the microscope ended frame {end.frame}: {reason}")
            if was_well and self._requests.any_open:
                self._blank(f"frame {end.frame} ended: {reason}")  # no time for the frames behind it
        try:
            self._recording.end_frame(
                end.frame, reason, exposed=end.next_index, electrons=end.electrons, utc_ns=end.utc_ns
            )
        except RecordingError as error:
            self._progress.failed("recording", str(error))
        self._progress.ended(end, complete=received == path.count, lost=lost)
        self._tell(
            "frame_ended",
            FrameEnd(
                end.series_id,
                end.frame,
                path,
                reason,
                received,
                received == path.count,
                end.monotonic_ns,
                self._stamps.pop(end.frame, None),
            ),
        )
        self._progress.tell()

    def _settled(self, frame: int) -> None:
        """The microscope said how far it came, and all of that is on the disk."""
        try:
            self._recording.note_asked(frame, "")
        except RecordingError as error:
            self._progress.failed("recording", str(error))

    def _blank(self, reason: str) -> None:
        """Tell the microscope to abort. Where it does not confirm that, it is told again while a frame is open."""
        self._abort_at = None if self._try(lambda: self._link.abort(reason)) else self._clock() + _ABORT_AGAIN_S

    def _try(self, call: Callable[[], None]) -> bool:
        """What may be refused, or unheard, without consequence: the microscope's dead man blanks anyway."""
        try:
            call()
        except ScanControlError as error:
            log.warning("the microscope did not answer as hoped: %s", error)
            return False
        return True
