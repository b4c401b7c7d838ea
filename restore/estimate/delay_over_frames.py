"""How long after the beam the readings come, told by frames of one field that ran over it in different directions.

A spiral does not cross itself, and readings that come late swirl all that it sees about its middle. Spirals of the same
sense see the same swirl, however they are turned; one of the other sense swirls the other way, and wherever the two
meet they say by how much. So do frames of a specimen that drifts, a little, and grids that are drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from restore.estimate.disagreement import PIECES, Delay, Disagreement, Pairs
from restore.estimate.neighbours import in_field, places_px, tree_of
from restore.gridding import FrameGeometry

__all__ = ["FramesDelay"]

_FRAMES = 8  # that are looked at together
_CLOSE_PX = 0.5
_MEETING_PX = 1.5
_ACROSS = 0.5  # between the ways in which two samples' beams went, from 0 to 2: alike, they are late alike
_PAIRS = 12288  # of two frames, the closest
_ASKED = 1 << 17  # of a frame's samples, whether another frame meets them
_FEWEST = 48
_DIRECTIONS = 6  # by which pieces are told apart: what a drift that is not known moves, it moves all ways


@dataclass(frozen=True)
class _Frame:
    values: Tensor
    weights: Tensor
    places: np.ndarray  # where they were taken, (n, 2) px
    ways: np.ndarray  # unit vectors along the path, (n, 2)
    geometry: FrameGeometry
    moved_px: np.ndarray  # how far the specimen has moved since, (2,)


class FramesDelay:
    """Adds up how much each new frame of a stream disagrees with the seven before it, at each delay."""

    def __init__(self) -> None:
        self._kept: list[_Frame] = []
        self._disagreement = Disagreement()
        self._frames, self._newest = 0, -1
        self.found: Delay | None = None

    def look(
        self,
        number: int,
        values: Tensor,
        weights: Tensor,
        geometry: FrameGeometry,
        moved_px: tuple[float, float] = (0.0, 0.0),
    ) -> Delay | None:
        """What is known of the delay after one more whole frame; after the first eight, every eighth is looked at.

        Args:
            number: of the frame; one that is not newer than the newest is passed over.
            values, weights: judged, of its samples, (n,).
            geometry: of its path.
            moved_px: how far the specimen has moved since the last frame, (y, x).
        """
        if number <= self._newest:
            return self.found
        self._newest = number
        places = places_px(geometry).numpy()
        step = np.gradient(places, axis=0)
        ways = step / np.maximum(np.hypot(*step.T), 1e-9)[:, None]
        frame = _Frame(values.cpu(), weights.cpu(), places, ways, geometry, np.zeros(2))
        if moved_px != (0.0, 0.0):
            self._kept = [replace(kept, moved_px=kept.moved_px + np.asarray(moved_px)) for kept in self._kept]
        if self._frames < _FRAMES or self._frames % _FRAMES == 0:
            self._compare(frame)
        self._kept = [*self._kept, frame][-(_FRAMES - 1) :]
        self._frames += 1
        return self.found

    def _compare(self, frame: _Frame) -> None:
        self._disagreement.forget()
        for other in self._kept:
            if other.geometry is frame.geometry:
                continue  # along the same path all readings are late alike
            pairs = _meetings(frame, other)
            if len(pairs.one) >= _FEWEST:
                self._disagreement.add(pairs, (frame.values, frame.weights), (other.values, other.weights))
        self.found = self._disagreement.found()


def _meetings(one: _Frame, other: _Frame) -> Pairs:
    """Samples of a frame, and of another that ran another way past nearly the same place."""
    tree, theirs = tree_of(other.geometry)
    own = in_field(one.geometry).numpy().nonzero()[0]
    own = own[:: -(-len(own) // _ASKED)]
    distance_px, found = tree.query(one.places[own] - other.moved_px, distance_upper_bound=_MEETING_PX)
    met = np.isfinite(distance_px)
    first, second, distance_px = own[met], theirs[found[met]], distance_px[met]
    across = np.hypot(*(one.ways[first] - other.ways[second]).T) > _ACROSS
    closest = np.flatnonzero(across)[np.argsort(distance_px[across], kind="stable")[:_PAIRS]]
    first = torch.from_numpy(first[closest])
    say = torch.from_numpy(1 / (distance_px[closest] + _CLOSE_PX) ** 2)
    way = one.ways[first.numpy()]
    direction = np.floor((np.arctan2(way[:, 0], way[:, 1]) / (2 * np.pi) + 0.5) * _DIRECTIONS).clip(0, _DIRECTIONS - 1)
    times = PIECES // _DIRECTIONS
    piece = first * times // len(one.values) + times * torch.from_numpy(direction.astype(np.int64))
    return Pairs(first, torch.from_numpy(second[closest]), say, piece)
