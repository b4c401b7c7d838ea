"""Brightness as instruments give it rather than specimens: along the time of the scan, or one smooth hump.

A baseline that wanders along a path that does not cross itself is a slope of the specimen's brightness, and a charged
spot that glows all the while is a bright place. No reading contradicts either, so neither is ever taken off. But few
specimens follow the path of the beam: brightness that rises with the scan's time, far more than it varies along
anything else as slow, is suspected; so is a picture most of whose variance is one smooth hump.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from torch.utils.weak import WeakIdKeyDictionary

from restore.estimate.readings import Judged
from restore.gridding import FrameGeometry

__all__ = ["Shading", "shading"]

Array = NDArray[np.float64]

_ORDER = 3  # of polynomials over the field that vary as slowly as the time of the scan
_ASKED = 1 << 14  # samples of a long path, evenly
_PLAIN = 0.25  # correlation of the readings with time
_FARTHER = 4.0  # times as far as with other slow variations, root mean square
_CELLS = 32  # a side, on which humps are looked for
_PADDED = (2 * _CELLS, 2 * _CELLS)
_WIDTHS = (0.1, 0.15, 0.22)  # of the field, standard deviation of a hump
_MOST = 0.45  # of the variance that a hump explains; 7 of 100 specimens have one


@dataclass(frozen=True)
class Shading:
    """What was suspected in one frame.

    Attributes:
        slope: of brightness over the frame's time, in the readings' units; 0 where it is none that stands out.
        hump: share of the readings' variance that one smooth hump explains; 0 where that is not most of it.
    """

    slope: float = 0.0
    hump: float = 0.0

    @property
    def cause(self) -> str:
        """What it may be, in a word; empty where nothing is suspected."""
        return "baseline" if self.slope else "charging" if self.hump else ""

    @property
    def notices(self) -> tuple[str, ...]:
        """What to tell of it, a sentence each."""
        found = []
        if self.slope:
            way = f"brightness follows the time of the scan, by {self.slope:+.3g} over the frame"
            found.append(f"{way}: a baseline, or a specimen so shaped; crossings of the path would tell")
        if self.hump:
            share = f"one smooth hump makes up {100 * self.hump:.0f} % of the readings' variance"
            found.append(f"{share}: charging, or a specimen so shaped")
        return tuple(found)


_slow = WeakIdKeyDictionary()  # geometry → (time, slow variations)


def shading(judged: Judged, geometry: FrameGeometry, time_us: Array, crossed: bool) -> Shading:
    """What of these readings' brightness looks like an instrument's.

    Args:
        geometry: of the path, with all of its samples.
        time_us: of each sample, rising, (n,).
        crossed: whether crossings of the path have told of the baseline already.
    """
    some = _some(geometry)
    used = judged.weights.numpy()[some] > 0
    if not used.any():
        return Shading()
    values = judged.values.double().numpy()[some]
    values = np.where(used, values - values[used].mean(), 0.0)
    spread = float(values[used].std())
    if spread == 0:
        return Shading()
    slope = 0.0 if crossed else _slope(values / spread, geometry, time_us) * spread * judged.scale
    hump = _hump(values / spread, used, geometry)
    return Shading(slope, hump if hump > _MOST else 0.0)


def _some(geometry: FrameGeometry) -> slice:
    return slice(None, None, -(-geometry.count // _ASKED))


def _slope(values: Array, geometry: FrameGeometry, time_us: Array) -> float:
    """Rise of the values from the frame's beginning to its end; 0 where it does not stand out."""
    if geometry not in _slow:
        _slow[geometry] = _variations(geometry, time_us)
    time, others = _slow[geometry]
    along = float(values @ time) / len(values)
    beside = values @ others / len(values)
    plain = abs(along) > max(_PLAIN, _FARTHER * float(np.sqrt(np.mean(beside**2))))
    return along * float(time[-1] - time[0]) if plain else 0.0


def _variations(geometry: FrameGeometry, time_us: Array) -> tuple[Array, Array]:
    """Time (n,), and what varies as slowly over the field and is no time (n, k), of unit mean square each."""
    some = _some(geometry)
    time = time_us[some] - time_us[some].mean()
    time = time / time.std()
    places = geometry.places[some].double().cpu().numpy() / np.array(geometry.shape) * 2 - 1
    down, right = (legvander(places[:, axis].clip(-1, 1), _ORDER) for axis in (0, 1))
    pairs = [(i, j) for i in range(_ORDER + 1) for j in range(_ORDER + 1) if 0 < i + j <= _ORDER]
    slow = np.stack([down[:, i] * right[:, j] for i, j in pairs], 1)
    slow -= slow.mean(0)
    slow -= np.outer(time, time @ slow / len(time))
    squares, turned = np.linalg.eigh(slow.T @ slow)  # their principal axes, in a tenth of the time of an SVD
    plain = squares > (1e-3) ** 2 * squares[-1]
    return time, slow @ (turned[:, plain] * np.sqrt(len(time) / squares[plain]))


def _hump(values: Array, used: NDArray[np.bool_], geometry: FrameGeometry) -> float:
    """Largest share of the values' variance that one bright Gaussian anywhere explains."""
    places = geometry.places[_some(geometry)].double().cpu().numpy()[used] / np.array(geometry.shape) * _CELLS
    cell = (places.astype(np.int64).clip(0, _CELLS - 1) * (_CELLS, 1)).sum(1)
    count, total = (
        np.bincount(cell, weights, _CELLS**2).reshape(_CELLS, _CELLS) for weights in (np.ones(len(cell)), values[used])
    )
    counts, totals = (rfft2(each, _PADDED) for each in (count, total))
    humps, squares = _humps()
    found = irfft2(np.concatenate((totals * humps, counts * humps, counts * squares)), _PADDED)
    covariance, mean, square = found[:, :_CELLS, :_CELLS].reshape(3, -1, _CELLS, _CELLS) / len(cell)
    return float((covariance.clip(0) ** 2 / (square - mean**2).clip(1e-9)).max())


@cache
def _humps() -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Transforms of Gaussians of each width over a padded field, and of their squares, (widths, …) each."""
    apart = (np.fft.fftfreq(2 * _CELLS) * 2) ** 2  # squared, in fields
    humps = np.exp(-(apart[:, None] + apart) / (2 * np.square(_WIDTHS)[:, None, None]))
    return rfft2(humps), rfft2(humps**2)
