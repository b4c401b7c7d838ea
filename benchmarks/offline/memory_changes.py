"""How soon a change of the specimen is forgotten: error where it changed, against a single frame's, frame by frame.

python -m benchmarks.offline.memory_changes

A particle jumps, an atom leaves a lattice, damage grows from frame to frame, the stage steps: each after the memory is
full. Of the first frames from the change on: error in the changed place as a share of that of the same frame restored
alone, and the share of its pixels that the interval holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from benchmarks.offline.memory import MARGIN, PATTERNS, Field
from restore.estimate.stream import Stream
from restore.evaluation.subjects import read_specimens
from restore.gridding import FrameGeometry
from restore.loading import load_restorer
from restore.restorer import Restorer
from scancontrol.paths import PathRecipe, expand

_FULL = 5  # frames before the change
_AFTER = 3


@dataclass(frozen=True)
class Change:
    """A specimen that changes.

    Attributes:
        whole: before, with a margin on each side.
        after: the specimen ``frames`` after the change, 1 for the first.
        where: bool (side, side), of the field, what is judged.
    """

    whole: Field
    after: Callable[[int], Field]
    where: np.ndarray


def _disc(across: int, y: float, x: float, radius: float) -> Field:
    rows, cols = np.mgrid[:across, :across]
    return np.clip(radius + 0.5 - np.hypot(rows - y, cols - x), 0.0, 1.0)


def _changes(side: int, draw: int) -> dict[str, Change]:
    across = side + 2 * MARGIN
    names = [f"film#{draw}", f"hexagonal-20px#{draw}", f"particles#{draw}"]
    film, lattice, particles = (
        read_specimens([name], (across, across), 1, None)[name][0].pixels.astype(np.float64) for name in names
    )
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    span = float(np.ptp(film))
    middle = across / 2
    here, there = (_disc(across, middle, middle + shift, side / 12) for shift in (-side / 8, side / 8))
    peak = np.unravel_index(lattice[inner].argmax(), (side, side))
    atom = _disc(across, peak[0] + MARGIN, peak[1] + MARGIN, 9)
    spot = np.exp(-(np.hypot(*(np.mgrid[:across, :across] - middle)) ** 2) / (2 * (side / 10) ** 2))
    y, x = np.mgrid[:across, :across].astype(float)
    stepped = map_coordinates(particles, [y + 6, x - 8], order=1, mode="nearest")
    everywhere = np.ones((side, side), bool)
    return {
        "a particle jumps": Change(film + span * here, lambda _: film + span * there, (here + there)[inner] > 0.5),
        "an atom leaves": Change(
            lattice, lambda _: lattice * (1 - atom) + atom * float(lattice.min()), atom[inner] > 0.5
        ),
        "damage grows": Change(film, lambda frames: film - 0.25 * frames * span * spot, spot[inner] > 0.3),
        "the stage steps by 10 px": Change(particles, lambda _: stepped, everywhere),
    }


def follow(change: Change, restorer: Restorer, pattern: str, coverage: float) -> tuple[list[float], list[float]]:
    """Of each frame from the change on: error as a share of the single frame's, and the share that is held."""
    side = len(change.where)
    stream, shares, held = Stream(4), [], []
    for number in range(_FULL + _AFTER):
        whole = change.whole if number < _FULL else change.after(number - _FULL + 1)
        recipe = PathRecipe(
            pattern=PATTERNS[pattern](number, coverage), shape=(side, side), fov_nm=float(side), dwell_us=1.0
        )
        geometry = FrameGeometry.from_path(expand(recipe))
        at = (geometry.places.numpy() + MARGIN).T
        values = torch.from_numpy(map_coordinates(whole, at, order=1).astype(np.float32))
        recalled = stream.recall(number, values, geometry)
        found = restorer.restore(recalled.values, recalled.geometry, None, recalled.before)
        stream.keep(recalled, found)
        found = recalled.told(found)
        if number >= _FULL:
            truth = whole[MARGIN:-MARGIN, MARGIN:-MARGIN]
            missed = np.abs(found.estimate.numpy() - truth)[change.where]
            alone = np.abs(restorer.restore(values, geometry).estimate.numpy() - truth)[change.where]
            shares.append(float(np.sqrt(np.mean(missed**2) / np.mean(alone**2))))
            assert found.interval is not None
            held.append(100 * float(np.mean(missed <= found.interval.numpy()[change.where])))
    return shares, held


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the field, in pixels")
    parser.add_argument("--coverage", type=float, default=0.05)
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--draws", type=int, nargs="+", default=[11, 12], help="specimens, by their seeds")
    options = parser.parse_args(arguments)
    restorer = load_restorer("auto", None, torch.device("cpu"))
    print("| change | pattern | error, share of a single frame's: 1st, 2nd, 3rd frame | interval holds % |")
    print("|---|---|---|---|")
    drawn = [_changes(options.side, draw) for draw in options.draws]
    for name in drawn[0]:
        for pattern in options.patterns:
            with torch.inference_mode():
                found = [follow(changes[name], restorer, pattern, options.coverage) for changes in drawn]
            shares, held = (np.mean([each[part] for each in found], 0) for part in (0, 1))
            told = (", ".join(f"{one:.2f}" for one in shares), ", ".join(f"{one:.0f}" for one in held))
            print(f"| {name} | {pattern} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()
