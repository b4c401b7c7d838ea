"""Where a new frame contradicts the last estimate of the specimen by more than its place: what changed meanwhile.

An estimate's interval is right on average and not everywhere, and the errors of neighbouring samples are one error. So
deviations are measured against those of most samples of this very frame, and cells of a drawn path, whose samples lie
along one arc, have to deviate farther. Where no sample was near, an estimate was guessed: denied there, it is doubted
and not forgotten, for an edge may lie anywhere between two arcs. Where many deviate to the same side less is enough,
and hardly anything where something changed lately, for damage goes on. A frame is another one altogether only if,
beyond that, the estimate tells hardly more of its samples than their mean does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.drift import Drift, Known
from restore.estimate.nearby import highest_nearby, highest_of_blocks, sums_nearby
from restore.gridding import FrameGeometry

__all__ = ["Changes", "find_changes"]

_CONTRADICTED = 6.0  # mean square deviation of a place's samples from which on it is another one
_CHANGED = 8.0  # likewise, from which on it has changed
_CHANGED_ALONG = 11.0  # the same along an arc
_CHANGED_ALIKE = 5.0  # the same over three places by three that deviate alike: an estimate errs to both sides
_ARCS = 1.15  # of as many samples as cross those places along an arc: those of one arc err as one
_ALIKE = 0.65  # share of the mean square deviation that is their common one
_DOUBTFUL = 3.0  # the same beside a place that has changed
_PARTS = 3  # cells across a place, which is moved by one cell at a time
_WIDE = 4  # cells on each side of one, three places across
_SPREAD = 4  # cells, as far as what is beside a changed place is looked at
_EDGE = 1  # cells about it, over which a sample may tell of what has changed and lie outside
_SLIGHT = 0.05  # of the samples' spread: less is no change, however sure the estimate is
_GOES_ON = 0.1  # of it, to one side, that is a change where something changed lately
_CLIPPED = 16.0  # squared deviation that one sample can say at most: an outlier is no change
_READ_PX = 2.0  # from a sample that the estimate was made from: farther off it was guessed, and no guess can change
_FEWEST = 3  # samples of a cell that can say so
_NORMAL = 1.4826  # deviations over the median absolute one
_MOST = 0.75  # of the samples beside edges, which say how far edges are off
_MOST_DEVIATES = 1.15  # as many standard deviations at most
_FEWEST_BESIDE = 64
_ANOTHER = 0.4  # share of the cells that contradict what was told of the estimate, in another frame
_TELLS_NOTHING = 0.8  # share of the samples' variance that an estimate of something else leaves


@dataclass(frozen=True)
class Changes:
    """What has changed.

    Attributes:
        cell: pixels along a side of one. where: cells that have changed, bool (n, m).
        everything: whether the frame as a whole is of something else.
        suspected: cells that have changed, or of which an estimate that was guessed is contradicted, bool (n, m).
        unlike: root mean square of what the samples contradicted, in each cell that is suspected, (n, m).
    """

    cell: int
    where: Tensor
    everything: bool
    suspected: Tensor
    unlike: Tensor

    @property
    def share(self) -> float:
        """Of the field, that has changed."""
        return 1.0 if self.everything else float(self.where.float().mean())

    def pixels(self, shape: tuple[int, int]) -> Tensor | None:
        """Where, bool (rows, cols); None if nowhere."""
        return self._pixels(self.where, shape) if bool(self.where.any()) else None

    def contradicted(self, shape: tuple[int, int]) -> Tensor:
        """By how much the samples contradicted the estimate about each pixel that is suspected, (rows, cols)."""
        return self._pixels(self.unlike, shape)

    def _pixels(self, cells: Tensor, shape: tuple[int, int]) -> Tensor:
        return cells.repeat_interleave(self.cell, 0).repeat_interleave(self.cell, 1)[: shape[0], : shape[1]]

    @property
    def across(self) -> int:
        """Pixels across a place, of about four samples of a grid."""
        return _PARTS * self.cell

    def at(self, pixel: Tensor) -> Tensor:
        """Whether pixels (n, 2) have changed, bool (n,); those outside are looked up at the edge."""
        place = torch.minimum(pixel.clamp_min(0) // self.cell, pixel.new_tensor(self.where.shape) - 1)
        return self.where.flatten()[place[:, 0] * self.where.shape[1] + place[:, 1]]


def find_changes(
    values: Tensor, geometry: FrameGeometry, known: Known, drift: Drift, lately: Tensor | None = None
) -> Changes:
    """What the samples (n,) of a new frame contradict of the last estimate, once it is moved by the drift.

    Where something changed ``lately``, bool (rows, cols), less is enough: a change often goes on.
    """
    rows, cols = geometry.shape
    across = max(4, round(2 / math.sqrt(max(geometry.touched, 1e-4))))
    cell = max(1, round(across / _PARTS))
    grid = (-(-rows // cell), -(-cols // cell))
    before = geometry.places - drift.moved(values)
    inside = ((before >= 0) & (before <= before.new_tensor((rows - 1, cols - 1)))).all(1) & (geometry.dwell > 0)
    inside = inside.nonzero()[:, 0]
    if len(inside) == 0:  # nothing of the field is left
        whole = torch.ones(grid, dtype=torch.bool, device=values.device)
        return Changes(cell, whole, True, whole, values.new_zeros(grid))
    level, down, right, deviation = known.at(before[inside])
    unsure = (down.square() + right.square()) * drift.sd_px**2
    missed = values[inside] - level
    expected = deviation.square() + unsure
    off = missed / expected.sqrt()
    usual = expected * max(1.0, _NORMAL * float(off.abs().median())) ** 2
    spread = values[inside].var()
    usual = usual + _SLIGHT**2 * spread
    edges = _steepest(known, across, before[inside])
    held = missed / (usual + (_displacement(missed, edges, usual) * edges).square()).sqrt()
    at = geometry.index[inside]
    place = (at // cols // cell) * grid[1] + at % cols // cell
    ones, read = torch.ones_like(off), known.is_read_at(before[inside], _READ_PX).to(off.dtype)
    of_each = (held.square().clamp_max_(_CLIPPED), missed.square(), missed)
    told_of = (off.square().clamp_max_(_CLIPPED), ones, *of_each, read, *(read * each for each in of_each))
    sums = off.new_zeros(len(told_of), grid[0] * grid[1])
    for row, each in zip(sums, told_of, strict=True):
        row.index_add_(0, place, each)
    sums = sums.view(-1, *grid)
    near, wide = sums_nearby(sums, _PARTS // 2), sums_nearby(sums[1:], _WIDE)
    left = float(missed.square().mean() / spread.clamp_min(1e-30))
    contradicted = (near[1] >= _FEWEST) & (near[0] > _CONTRADICTED * near[1])
    another = float(contradicted.float().mean()) > _ANOTHER and left > _TELLS_NOTHING
    again = None
    if lately is not None:
        down, right = (torch.arange(side, device=values.device) * cell + cell // 2 for side in grid)
        again = lately[down.clamp_max(rows - 1)][:, right.clamp_max(cols - 1)]
        again = again & (wide[6] > _GOES_ON**2 * spread * wide[4])
    enough = (_ARCS * cell if geometry.is_drawn else 1.0) * _PARTS**2
    doubtful, most = near[2] >= _DOUBTFUL * near[1], _CHANGED_ALONG if geometry.is_drawn else _CHANGED
    changed, suspected = (
        _about(_contradicted(near[first : first + 2], wide[first - 1 : first + 3], most, enough, again), doubtful)
        for first in (5, 1)
    )
    suspected = suspected | changed
    number, square = sums_nearby(sums[[1, 3]] * suspected, _WIDE)
    unlike = suspected * (square / number.clamp_min(1.0)).sqrt()
    return Changes(cell, changed, another, suspected, unlike)


def _contradicted(near: Tensor, wide: Tensor, most: float, enough: float, again: Tensor | None) -> Tensor:
    """Cells in which samples deny the estimate, bool (n, m).

    Args:
        near: sums of samples and of their squared deviations in standard ones over a place, (2, n, m).
        wide: likewise over three places by three, and of their squared deviations and deviations, (4, n, m).
        most: mean square from which on a place is another one. enough: samples that can deviate alike.
        again: where deviating alike is enough, if anywhere.
    """
    (count, scaled), (number, wider, square, common) = near, wide
    alike = (number >= enough) & (common.square() > _ALIKE * number * square)
    found = (count >= _FEWEST) & (scaled > most * count) | alike & (wider > _CHANGED_ALIKE * number)
    return found if again is None else found | alike & again


def _about(changed: Tensor, doubtful: Tensor) -> Tensor:
    """Cells that have changed, with what is doubtful beside them and their edges, bool (n, m)."""
    for _ in range(_SPREAD):  # also where no sample fell
        changed = changed | (doubtful & highest_nearby(changed, 1))
    return highest_nearby(changed, _EDGE)


def _steepest(known: Known, cell: int, places: Tensor) -> Tensor:
    """The steepest slope of the estimate, per pixel, about places (n, 2), within half a cell or little more: (n,)."""
    down, right = known.maps[0, 1:3]
    block = max(1, cell // 3)
    coarse = highest_of_blocks(down.square().addcmul_(right, right), block)  # a window as wide as a cell takes long
    steepest = highest_nearby(coarse, 1).sqrt_()
    at = (places + 0.5).floor().long().clamp_min(0) // block
    rows, cols = steepest.shape
    return steepest[at[:, 0].clamp_max(rows - 1), at[:, 1].clamp_max(cols - 1)]


def _displacement(missed: Tensor, edges: Tensor, expected: Tensor) -> float:
    """By how many pixels edges of the estimate are misplaced, as most samples beside them say; 0: by none.

    Between samples an edge lies somewhere; an interval that is right on average tells too little of that.
    """
    beside = edges.square() > expected
    if int(beside.sum()) < _FEWEST_BESIDE:
        return 0.0
    off = (missed[beside].abs() / edges[beside]).sort().values
    return float(off[int(_MOST * (len(off) - 1))]) / _MOST_DEVIATES
