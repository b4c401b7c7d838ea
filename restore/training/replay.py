"""Hard-example replay: the author's "bad buffer". Some items of a batch are ones that went badly before.

An item is a few numbers, since everything about it is drawn from its seed; so the buffer costs nothing and travels
in a checkpoint. An item enters when its loss exceeds a threshold that steers the entry rate towards the replay share.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

__all__ = ["HardExamples", "Item", "ReplayConfig"]


class Item(NamedTuple):
    """What an item of a batch is drawn from: its step and place in the batch, and its position in the epochs."""

    step: int
    place: int
    position: int


class ReplayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``slots`` items are kept; each item of a batch is one of them with probability ``share``. 0 switches it off."""

    slots: int = 50
    share: float = 0.0
    sigmas: float = 5.0
    decay: float = 0.99


class HardExamples:
    """The buffer of one process, by crop size. Its state is JSON-able."""

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        self.slots: dict[int, list[Item]] = {}
        self.mean, self.mean_square, self.rate, self.offset = 0.0, 0.0, config.share, 0.0

    def draw(self, size: int, rng: np.random.Generator) -> Item | None:
        """A hard item of this crop size, or None for a fresh one."""
        held = self.slots.get(size, [])
        if not held or rng.random() >= self.config.share:
            return None
        return held[int(rng.integers(len(held)))]

    def consider(self, size: int, item: Item, loss: float, rng: np.random.Generator) -> None:
        """Let an item in, in place of a random one, if it is hard enough."""
        if not self.config.share or not np.isfinite(loss):
            return
        decay = self.config.decay
        spread = max(0.0, self.mean_square - self.mean**2) ** 0.5
        enters = self.mean > 0 and loss > self.mean + self.offset * spread
        # Too many enter: raise the threshold; too few: lower it, within ± sigmas.
        self.rate += (1 - decay) * (float(enters) - self.rate)
        self.offset += (1 - decay) * np.sign(self.rate - self.config.share) * self.config.sigmas
        self.offset = float(np.clip(self.offset, -self.config.sigmas, self.config.sigmas))
        first = self.mean == 0
        self.mean = loss if first else decay * self.mean + (1 - decay) * loss
        self.mean_square = loss**2 if first else decay * self.mean_square + (1 - decay) * loss**2
        if enters:
            held = self.slots.setdefault(size, [])
            if len(held) < self.config.slots:
                held.append(item)
            else:
                held[int(rng.integers(len(held)))] = item

    def state(self) -> dict[str, object]:
        """Everything, as JSON-able values."""
        slots = {str(size): [list(item) for item in held] for size, held in self.slots.items()}
        return {
            "slots": slots,
            "mean": self.mean,
            "mean_square": self.mean_square,
            "rate": self.rate,
            "offset": self.offset,
        }

    def restore(self, state: dict) -> None:  # type: ignore[type-arg]
        """Put back what :meth:`state` gave."""
        self.slots = {int(size): [Item(*item) for item in held] for size, held in state["slots"].items()}
        self.mean, self.mean_square = state["mean"], state["mean_square"]
        self.rate, self.offset = state["rate"], state["offset"]
