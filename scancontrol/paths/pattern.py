"""What every scan pattern is: a small frozen recipe that lays samples on a canvas, any stretch of them at a time.

A pattern is a :class:`Pattern` (what a plan carries). :meth:`Pattern.lay` turns it into a :class:`Layout`
(how many samples, and where samples ``first`` to ``first + count`` are), without computing all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas

__all__ = [
    "CONTINUOUS",
    "FLYBACK",
    "JUMP",
    "CoverageGoal",
    "FunctionLayout",
    "Layout",
    "Pattern",
    "Samples",
    "check_points",
    "check_seed",
    "frame_seed",
]

CONTINUOUS, JUMP, FLYBACK = 0, 1, 2
"""How the beam reaches a sample: drawn there exposed, moved there blanked, or flown back blanked."""


class Samples(NamedTuple):
    """A stretch of a layout."""

    fractions: NDArray[np.float64]  # (n, 2) as (y, x), fractions of the region in [0, 1)
    weight: NDArray[np.float64] | None  # (n,) dwell relative to the plan's; None where all are 1
    move: NDArray[np.uint8]  # (n,) CONTINUOUS, JUMP or FLYBACK


class Layout(Protocol):
    """The samples of a pattern on a canvas, computed a stretch at a time."""

    @property
    def count(self) -> int:
        """How many samples there are."""

    def samples(self, first: int, count: int) -> Samples:
        """Samples ``first`` to ``first + count``, in the order of the scan."""


@dataclass(frozen=True)
class FunctionLayout:
    """A layout whose samples are a function of their index."""

    count: int
    function: Callable[[int, int], Samples]

    def samples(self, first: int, count: int) -> Samples:
        """See :class:`Layout`."""
        return self.function(first, count)


class CoverageGoal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coverage that a pattern's free parameter is solved for, over the pixels of the region.

    ``touched`` counts pixels that hold at least one sample, ``dose`` sums dwell relative to a full raster.

    Raises:
        InvalidInput: the value is not a fraction above 0 and at most 1.
    """

    value: float
    by: Literal["touched", "dose"] = "touched"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and 0 < self.value <= 1):
            raise InvalidInput(
                "coverage",
                self.value,
                "is outside what a partial scan can have, above 0 and at most 1",
                "give the fraction of a full raster, for example 0.05",
            )


class Pattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all patterns. ``coverage`` asks for a coverage; the pattern's own parameter, once solved, gives it.

    Raises:
        InvalidInput: a parameter of any pattern cannot be.
    """

    coverage: CoverageGoal | None = None

    def lay(self, canvas: Canvas) -> Layout:
        """The samples on ``canvas``. The pattern has to be :attr:`solved`."""
        raise NotImplementedError

    @property
    def solved(self) -> bool:
        """Whether the free parameter is known, given or solved for."""
        return True

    def at_density(self, density: float, canvas: Canvas) -> Self:
        """The same pattern with its free parameter set so that it touches roughly ``density`` of the pixels."""
        raise InvalidInput(
            "coverage",
            self.coverage,
            f"cannot be asked of {type(self).__name__}",
            "leave coverage out: this pattern has no free parameter",
        )

    def geometric_coverage(self, canvas: Canvas) -> float:
        """The coverage that the pattern's own parameters state, where none was asked for."""
        return min(1.0, self.lay(canvas).count / canvas.pixels)

    def in_any_order(self) -> Self:
        """A pattern that visits the same pixels, in whatever order is found soonest."""
        return self

    @property
    def changes_per_frame(self) -> bool:
        """Whether :meth:`for_frame` gives each frame a pattern of its own."""
        return getattr(self, "seed", None) is not None and bool(getattr(self, "seed_per_frame", False))

    def for_frame(self, frame: int) -> Self:
        """The pattern of frame ``frame``: itself, except where the seed changes with the frame."""
        seed: int | None = getattr(self, "seed", None)
        if seed is None or not self.changes_per_frame:
            return self
        changed: dict[str, Any] = {"seed": frame_seed(seed, frame), "seed_per_frame": False}
        return msgspec.structs.replace(self, **changed)


def check_points(points: int | None, coverage: CoverageGoal | None) -> None:
    """Check a number of points, which is solved for where a coverage is given.

    Raises:
        InvalidInput: it is below 1, or missing without a coverage.
    """
    if points is None and coverage is None:
        raise InvalidInput("points", None, "is missing", "give it, or the coverage to solve it for")
    if points is not None and points < 1:
        raise InvalidInput("points", points, "is below 1", "give the number of points")


def check_seed(seed: int) -> None:
    """Check that a seed fits the recipe.

    Raises:
        InvalidInput: it is outside 0 to 2⁶³ − 1.
    """
    if not 0 <= seed < 1 << 63:
        raise InvalidInput("seed", seed, "is outside 0 to 2⁶³ − 1", "give a whole number of 0 or more")


def frame_seed(seed: int, frame: int) -> int:
    """A seed of its own for each frame, the same on every machine."""
    return int(np.random.SeedSequence((seed, frame)).generate_state(1, np.uint32)[0])
