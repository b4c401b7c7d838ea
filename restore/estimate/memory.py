"""A detector that remembers: part of each electron's light falls into the dwells that follow.

A scintillator's light fades as exp(−t/τ). Of an electron that arrives at any moment of a dwell T, ``1 − (τ/T)(1 −
e^(−T/τ))`` of the light falls into that dwell; the rest fades on through the next dwells and the blanked moves between
them. That is a recursion of first order along the path, linear in the specimen, and so is its transpose. To undo it by
its inverse would multiply the noise by fifteen at τ = 3T; here the readings are explained by what the picture says and
as much more as their noise allows: the posterior mean, by conjugate gradients.

Reference: Tarantola, Inverse Problem Theory, SIAM 2005, section 3.2 (linear Gaussian estimate).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtbtrs

__all__ = ["Afterglow"]

Array = NDArray[np.float64]

_STEPS = 60


class Afterglow:
    """Readings of a detector whose light fades with ``decay_us``, along one path.

    Arguments:
        decay_us: τ, above 0. dwell_us, move_us: of each sample, and blanked before it, (n,).
    """

    def __init__(self, decay_us: float, dwell_us: Array, move_us: Array) -> None:
        fades = np.exp(-dwell_us / decay_us)
        self._left = decay_us / dwell_us * (1 - fades)  # of a sample's light, when its dwell ends
        self._seen = 1 - fades  # of the light that a dwell begins with, during it
        across = np.exp(-move_us / decay_us)
        # Light at the start of each dwell: q[k] = across[k] (fades[k−1] q[k−1] + left[k−1] s[k−1]), a banded system.
        self._banded = np.stack([np.ones(len(dwell_us)), np.append(-(across[1:] * fades[:-1]), 0.0)])
        self._handed_on = across[1:] * self._left[:-1]

    def read(self, specimen: Array) -> Array:
        """What is read where the specimen gives ``specimen`` (n,): H s."""
        later = np.append(0.0, self._handed_on * specimen[:-1])
        return (1 - self._left) * specimen + self._seen * self._solved(later, "N")

    def transposed(self, readings: Array) -> Array:
        """Hᵀ of readings (n,)."""
        back = self._solved(self._seen * readings, "T")
        return (1 - self._left) * readings + np.append(self._handed_on * back[1:], 0.0)

    def _solved(self, right: Array, transposed: str) -> Array:
        found, _ = dtbtrs(self._banded, right[:, None], uplo="L", trans=transposed)
        return np.asarray(found[:, 0])

    def specimen(self, readings: Array, expected: Array, noise_variance: float, doubt_variance: float) -> Array:
        """What the specimen gave, (n,): the posterior mean of s in y = H s + noise, s = expected + doubt.

        Arguments:
            readings: y, (n,). expected: what is known of the specimen at each sample, (n,).
            noise_variance, doubt_variance: of the readings, and of the specimen about what is expected; above 0.
        """
        ratio = noise_variance / doubt_variance
        found = np.zeros_like(readings)
        left = self.transposed(readings - self.read(expected))
        direction, size = left.copy(), float(left @ left)
        goal = 1e-12 * size
        for _ in range(_STEPS):
            if size <= goal:
                break
            image = self.transposed(self.read(direction)) + ratio * direction
            length = size / float(direction @ image)
            found += length * direction
            left -= length * image
            before, size = size, float(left @ left)
            direction = left + size / before * direction
        return expected + found
