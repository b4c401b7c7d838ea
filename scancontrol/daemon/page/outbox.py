"""What one browser gets next. Pure: no sockets, no clock, no threads.

Every browser has its own :class:`Outbox`. It holds nothing but sequence numbers, so a browser that stops
reading costs a few bytes; when it reads again it gets the newest of each kind and never a backlog. An image
goes out only while fewer than :data:`WINDOW` are unacknowledged (a page acknowledges after drawing), and
each kind no oftener than the page can use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from scancontrol.daemon.page.hub import LiveHub, Slot, View
from scancontrol.daemon.page.messages import Notice

__all__ = ["WINDOW", "Outbox", "Outgoing"]

WINDOW: Final = 2  # one being drawn, one on its way

_SHORTEST_INTERVAL_S: Final[dict[Slot, float]] = {
    "status": 0.1,
    "partial": 0.05,
    "complete": 0.05,
    "restoration": 0.05,
    "beside": 0.05,
    "truth": 0.05,
}


@dataclass(frozen=True)
class Outgoing:
    """One thing to send: the newest view of a slot, or a notice (``slot`` None)."""

    slot: Slot | None
    seq: int
    view: View | Notice


class Outbox:
    """Chooses, for one browser, what to send next; see the module."""

    def __init__(self) -> None:
        self._sent: dict[Slot, tuple[int, float]] = {}  # slot → sequence number and time of the last one sent
        self._notices_seen = 0
        self._unacknowledged: list[int] = []

    @property
    def images_in_flight(self) -> int:
        """How many images were sent and not yet acknowledged; never above :data:`WINDOW`."""
        return len(self._unacknowledged)

    def acknowledge(self, seq: int) -> None:
        """The browser has drawn image ``seq``, and so everything sent before it. Unknown numbers are ignored."""
        if seq in self._unacknowledged:
            del self._unacknowledged[: self._unacknowledged.index(seq) + 1]

    def next(self, hub: LiveHub, now_s: float) -> Outgoing | None:
        """Return what to send at ``now_s``, or None if there is nothing for now.

        Notices first, then the status, then of the images the one whose kind has waited longest.
        """
        for seq, notice in hub.notices_after(self._notices_seen):
            self._notices_seen = seq
            return Outgoing(None, seq, notice)
        due: list[tuple[bool, float, Outgoing]] = []
        for slot in get_args(Slot):
            newest = hub.newest(slot)
            sent_seq, sent_s = self._sent.get(slot, (0, float("-inf")))
            if newest is None or newest[0] == sent_seq or now_s < sent_s + _SHORTEST_INTERVAL_S[slot]:
                continue
            is_image = slot != "status"
            if not (is_image and self.images_in_flight >= WINDOW):
                due.append((is_image, sent_s, Outgoing(slot, *newest)))
        if not due:
            return None
        chosen = min(due, key=lambda entry: entry[:2])[2]
        if chosen.slot is not None:
            self._sent[chosen.slot] = (chosen.seq, now_s)
            if chosen.slot != "status":
                self._unacknowledged.append(chosen.seq)
        return chosen
