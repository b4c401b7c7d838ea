"""A detector that remembers: part of each electron's light falls into the dwells that follow.

A scintillator's light fades as exp(−t/τ). Of an electron that arrives at any moment of a dwell T, ``1 − (τ/T)(1 −
e^(−T/τ))`` of the light falls into that dwell; the rest fades on through the next dwells and the blanked moves between
them. That is a recursion of first order along the path, linear in the specimen, and so is its transpose. To undo it by
its inverse would multiply the noise by fifteen at τ = 3T; here the readings are explained by what the picture says and
as much more as their noise allows: the posterior mean.

Reference: Tarantola, Inverse Problem Theory, SIAM 2005, section 3.2 (linear Gaussian estimate).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.linalg.lapack import dtbtrs

__all__ = ["Afterglow"]

Array = NDArray[np.float64]


class Afterglow:
    """Readings of a detector whose light fades with ``decay_us``, along one path.

    Args:
        decay_us: τ, above 0. dwell_us, move_us: of each sample, and blanked before it, (n,).
    """

    def __init__(self, decay_us: float, dwell_us: Array, move_us: Array) -> None:
        fades = np.exp(-dwell_us / decay_us)
        self._left = decay_us / dwell_us * (1 - fades)  # of a sample's light, when its dwell ends
        self._seen = 1 - fades  # of the light that a dwell begins with, during it
        self._across = np.exp(-move_us / decay_us)
        self._across[0] = 0.0  # the detector is dark before the first sample
        self._kept = self._across * fades
        # Light at the end of each dwell: p[k] = across[k] fades[k] p[k−1] + left[k] s[k], a banded system.
        self._banded = np.stack([np.ones(len(dwell_us)), np.append(-self._kept[1:], 0.0)])

    def read(self, specimen: Array) -> Array:
        """What is read where the specimen gives ``specimen`` (n,): H s."""
        light = self._solved(self._left * specimen, "N")
        found = (1 - self._left) * specimen + self._seen * self._across * np.append(0.0, light[:-1])
        return np.asarray(found)

    def transposed(self, readings: Array) -> Array:
        """Hᵀ of readings (n,)."""
        back = self._solved(np.append((self._seen * self._across * readings)[1:], 0.0), "T")
        return np.asarray((1 - self._left) * readings + self._left * back)

    def _solved(self, right: Array, transposed: str) -> Array:
        found, _ = dtbtrs(self._banded, right[:, None], uplo="L", trans=transposed)
        return np.asarray(found[:, 0])

    def undone(self, readings: Array) -> Array:
        """H⁻¹ of readings (n,), exactly: for shares of the light that are small, for it multiplies noise."""
        own, later = 1 - self._left, self._seen * self._across
        # s[k] = (y[k] − later[k] p[k−1]) / own[k], so that p follows a recursion of its own.
        kept = self._kept - self._left * later / own
        banded = np.stack([np.ones(len(readings)), np.append(-kept[1:], 0.0)])
        light, _ = dtbtrs(banded, (self._left / own * readings)[:, None], uplo="L", trans="N")
        return np.asarray((readings - later * np.append(0.0, light[:-1, 0])) / own)

    def specimen(self, readings: Array, expected: Array, noise_variance: float | Array, doubt_variance: float) -> Array:
        """What the specimen gave, (n,): the posterior mean of s in y = H s + noise, s = expected + doubt.

        Both s and y are two-term sums of the light at the ends of the dwells, so that the normal equations of that
        light are tridiagonal.

        Args:
            readings: y, (n,). expected: what is known of the specimen at each sample, (n,).
            noise_variance, doubt_variance: of the readings, one or (n,), infinite for one that is not believed, and of
                the specimen about what is expected; above 0.
        """
        glow = (1 / self._left, -self._kept / self._left)
        seen = ((1 - self._left) * glow[0], (1 - self._left) * glow[1] + self._seen * self._across)
        banded, right = np.zeros((2, len(readings))), np.zeros(len(readings))
        for (own, before), target, variance in ((seen, readings, noise_variance), (glow, expected, doubt_variance)):
            weight = np.broadcast_to(1 / np.asarray(variance), readings.shape)
            banded[1] += own**2 * weight
            banded[1, :-1] += before[1:] ** 2 * weight[1:]
            banded[0, 1:] += own[1:] * before[1:] * weight[1:]
            right += own * target * weight
            right[:-1] += (before * target * weight)[1:]
        light = solveh_banded(banded, right)
        found = glow[0] * light
        found[1:] += glow[1][1:] * light[:-1]
        return np.asarray(found)
