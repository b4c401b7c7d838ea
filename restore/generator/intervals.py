"""Intervals that hold: split conformal calibration of the predicted scale, then a check on this very frame.

The generator predicts the scale b of the error on every pixel. On specimens that it was not trained on, the
conformal quantile of |error| / b gives the factor q with which q·b covers 90 % of pixels: one factor for each class
of coverage and of distance to the path, of scattered points and of curves. A promise made on other specimens holds on
average only, so each frame rescales it by how its own withheld samples fell, to a power that was itself fitted offline.
Of a frame whose readings' noise is stated the interval is of the specimen, calibrated on specimens whose truth is known
without noise; of any other it is of readings that nobody took, calibrated on micrographs, which have noise themselves.

References: Lei et al. 2018, JASA 113, 1094 (split conformal prediction, locally weighted residuals, section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.withholding import AtHeld, carried_over
from scancontrol.errors import InvalidInput

__all__ = ["COVERAGES", "DISTANCES", "LEVEL", "Calibration", "CalibrationCounts", "conformal_quantile"]

LEVEL = 0.9
_USUAL_SAY = 0.755  # of withheld samples on a frame's error, in the median frame of those that ``rms_share`` is of
_LEAST_MADE_UP = 0.4  # about an error over its half-width; the promise alone is no larger
COVERAGES = (0.015, 0.03, 0.06, 0.12)
"""Edges between the classes of touched pixels' share."""
DISTANCES = (0.5, 1.5, 2.5, 4.5, 6.5, 8.5, 11.5, 16.5, 24.5, 32.5, 45.5)
"""Edges between the classes of distance to the path, in pixels; the first class is the path itself."""


def conformal_quantile(scores: Tensor, level: float = LEVEL) -> float:
    """The ⌈(n + 1)·level⌉-th smallest of n scores (n,): the split conformal quantile, infinite if n is too small."""
    rank = math.ceil((len(scores) + 1) * level)
    if rank > len(scores):
        return math.inf
    return float(scores.kthvalue(rank).values)


_known_classes = WeakIdKeyDictionary()  # distances (rows, cols) → edges → class of each pixel


def _classes(distance: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Which class between ``edges`` each pixel is in; remembered, for a path's distances never change."""
    known = _known_classes.setdefault(distance, {})
    if edges not in known:
        between = torch.tensor(edges, dtype=distance.dtype, device=distance.device)
        if all((edge + 0.5).is_integer() for edge in edges):  # to look a rounded number up takes a fifth of the time
            whole = torch.arange(math.ceil(edges[-1]) + 1, dtype=distance.dtype, device=distance.device)
            steps = (distance - 0.5).ceil_().clamp_(0, len(whole) - 1).to(torch.int32)
            of_whole = torch.bucketize(whole, between, out_int32=True)
            known[edges] = of_whole.index_select(0, steps.flatten()).view(distance.shape)
        else:
            known[edges] = torch.bucketize(distance, between, out_int32=True)
    return known[edges]


Factors = tuple[tuple[float, ...], ...]


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Factors by (coverage class, distance class), and how far a frame's own withheld samples may rescale them.

    Attributes:
        factors: one row for each class of coverage, one entry for each class of distance.
        drawn_factors: the same of paths that are curves; of samples along an arc each knows its neighbours, but
            nothing across it. None: as ``factors``.
        trust: exponent of the rescaling, 0 to 1, for a frame with very many withheld samples.
        bias: what the rescaling is multiplied with: withheld samples lie closer to the path than real gaps do.
        rms_share: root mean square error of a frame over what :func:`~restore.withholding.carried_over` says, the
            median of many frames; of normally distributed errors whose interval is promised well, 1/1.645.
        distances: edges between the classes of distance, rising, in pixels.
        stated: what holds instead for frames whose readings' noise is stated; None: this.
    """

    factors: Factors
    drawn_factors: Factors | None = None
    trust: float = 0.0
    bias: float = 1.0
    rms_share: float = 1 / 1.645
    distances: tuple[float, ...] = DISTANCES
    stated: Calibration | None = None

    def __post_init__(self) -> None:
        tables = [self.factors] if self.drawn_factors is None else [self.factors, self.drawn_factors]
        for table in tables:
            wide = {len(row) for row in table}
            if len(table) != len(COVERAGES) + 1 or wide != {len(self.distances) + 1}:
                raise InvalidInput(
                    "calibration.factors",
                    f"{len(table)} × {wide}",
                    f"is not {len(COVERAGES) + 1} × {len(self.distances) + 1}",
                    "calibrate the weights again",
                )
        flat = [value for table in tables for row in table for value in row]
        if len(self.distances) > 64 or any(not 0 < a < b for a, b in pairwise(self.distances)):
            raise InvalidInput("calibration.distances", self.distances, "do not rise", "calibrate the weights again")
        positive = (*flat, self.bias, self.rms_share)
        if not all(math.isfinite(value) and value > 0 for value in positive) or not 0 <= self.trust <= 1:
            raise InvalidInput("calibration", self, "has entries that are no positive numbers", "calibrate again")

    def of(self, noise_is_stated: bool) -> Calibration:
        """The calibration of such frames."""
        return self.stated if noise_is_stated and self.stated is not None else self

    def half_width(self, scale: Tensor, distance: Tensor, touched: float, drawn: bool = False) -> Tensor:
        """Half-width of the 90 % interval from the predicted scale, both (rows, cols), before any rescaling.

        Factors are interpolated in the logarithm of coverage, so that a partial frame's interval does not jump.
        """
        centres = [math.log(COVERAGES[0] / 2)]
        centres += [0.5 * math.log(a * b) for a, b in pairwise(COVERAGES)]
        centres.append(math.log(COVERAGES[-1] * 2))
        at = math.log(max(touched, 1e-6))
        upper = next((i for i, centre in enumerate(centres) if at < centre), len(centres) - 1)
        lower = max(0, upper - 1)
        span = centres[upper] - centres[lower]
        share = min(1.0, max(0.0, (at - centres[lower]) / span)) if span else 0.0
        factors = self.drawn_factors if drawn and self.drawn_factors is not None else self.factors
        table = torch.tensor(factors, dtype=scale.dtype, device=scale.device)
        row = torch.lerp(table[lower], table[upper], share)
        chosen = row.index_select(0, _classes(distance, self.distances).flatten())  # half the time of row[classes]
        return scale * chosen.view(scale.shape)

    def expected(self, at_held: AtHeld, say: float) -> float:
        """A frame's root mean square error, from what its withheld samples say of the promise.

        A half-width is no error: the less a measurement may say, the more of the promise is left in
        :func:`~restore.withholding.carried_over`, and the more has to be made up for.

        Args:
            at_held: residuals and half-widths, in the same units.
            say: how much they may say, 0 to 1: :attr:`~restore.withholding.Withheld.say_on_errors`.
        """
        made_up: float = max(_LEAST_MADE_UP, self.rms_share ** ((1 - say) / (1 - _USUAL_SAY)))
        return made_up * carried_over(at_held, say)

    def rescale(self, scores: Tensor, say: float, missed: bool = False) -> float:
        """What this frame's half-widths are multiplied with.

        Args:
            scores: |withheld sample − estimate| / half-width at the withheld samples, shape (k,).
            say: how much they may say, 0 to 1: :attr:`~restore.withholding.Withheld.say_on_widths`.
            missed: whether more of them are missed than by chance; then they say all, and may only widen.
        """
        enough = len(scores) >= 24
        if missed and enough:
            return max(1.0, self.bias) * max(1.0, conformal_quantile(scores))
        if self.trust == 0:
            return self.bias
        if not enough:
            return 1.0
        return self.bias * min(4.0, max(0.25, conformal_quantile(scores))) ** (self.trust * say)


class CalibrationCounts:
    """Collects scores |error| / scale of many frames, and turns them into factors.

    ``scores`` are by whether the path is a curve, then by class of coverage and of distance.
    """

    def __init__(self) -> None:
        self.scores: dict[bool, dict[tuple[int, int], list[Tensor]]] = {False: {}, True: {}}

    @classmethod
    def together(cls, parts: Iterable[CalibrationCounts]) -> CalibrationCounts:
        """The scores of all parts."""
        whole = cls()
        for part in parts:
            for drawn, classes in part.scores.items():
                for place, scores in classes.items():
                    whole.scores[drawn].setdefault(place, []).extend(scores)
        return whole

    def add(
        self, error: Tensor, scale: Tensor, distance: Tensor, touched: float, drawn: bool = False, most: int = 2000
    ) -> None:
        """One frame's |error|, scale and distance (rows, cols); at most ``most`` pixels of each class are kept."""
        row = sum(touched > edge for edge in COVERAGES)
        edges = torch.tensor(DISTANCES, dtype=distance.dtype, device=distance.device)
        classes = torch.bucketize(distance, edges).flatten()
        scores = (error / scale).flatten()
        for column in range(len(DISTANCES) + 1):
            inside = scores[classes == column]
            if len(inside):
                stride = max(1, len(inside) // most)
                self.scores[drawn].setdefault((row, column), []).append(inside[::stride][:most].cpu())

    def factors(self, drawn: bool = False) -> Factors:
        """Conformal quantiles by class; a class nobody fell into takes its nearest neighbour's in distance.

        Raises:
            ValueError: no frame of that kind of path was added.
        """
        found = self.scores[drawn]
        if not found:
            raise ValueError(f"no frame was added whose path is {'a curve' if drawn else 'scattered points'}")
        everything = torch.cat([score for scores in found.values() for score in scores])
        overall = conformal_quantile(everything)
        table = []
        for row in range(len(COVERAGES) + 1):
            line: list[float | None] = []
            for column in range(len(DISTANCES) + 1):
                scores = found.get((row, column), [])
                pooled = torch.cat(scores) if scores else torch.empty(0)
                line.append(conformal_quantile(pooled) if len(pooled) >= 500 else None)
            table.append(tuple(_filled(line, overall)))
        return tuple(table)


def _filled(line: Iterable[float | None], otherwise: float) -> list[float]:
    values = list(line)
    known = [i for i, value in enumerate(values) if value is not None]
    if not known:
        return [otherwise] * len(values)
    nearest = (min(known, key=lambda k: abs(k - i)) for i in range(len(values)))
    return [value for value in (values[i] for i in nearest) if value is not None]
