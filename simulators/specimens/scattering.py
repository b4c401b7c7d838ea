"""How strongly an atom scatters into each detector.

Optical depths add along the beam and the scattered fraction follows as ``1 − exp(−depth)``, so that fractions stay in
[0, 1] however thick the specimen. Two depths are kept: ``high`` for scattering beyond the inner angle of the HAADF
detector and ``low`` for all scattering out of the bright-field disc. The three detectors share out every electron:

    HAADF = 1 − exp(−high),   ADF = exp(−high) − exp(−low),   BF = exp(−low).

Magnitudes: Rutherford's cross section beyond 60 mrad at 200 kV for Z = 38 is ``π·(Z·e²/(4πε₀·pv))²·cot²(θ/2)`` =
8.8e-5 nm²; screening lowers the exponent from 2 to about 1.7 at high angles (Pennycook & Jesson, Ultramicroscopy 37,
14, 1991; Krivanek et al., Nature 464, 571, 2010: 1.64) and to about 1.4 at low ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["DETECTOR_KINDS", "detected_fraction", "high_angle_nm2", "low_angle_nm2", "needs_low"]

DETECTOR_KINDS = ("HAADF", "ADF", "BF")

_REFERENCE_NUMBER = 38
_REFERENCE_NM2 = 8.8e-5
_LOW_TO_HIGH = 9.0  # cot²(θ/2) at 20 against 60 mrad; multislice of thin SrTiO3 agrees (docs/explanation/simulator.md)


def high_angle_nm2(atomic_number: NDArray[np.generic] | float) -> NDArray[np.float64]:
    """Cross section (nm²) of one atom beyond the HAADF detector's inner angle."""
    return np.asarray(_REFERENCE_NM2 * (np.asarray(atomic_number, np.float64) / _REFERENCE_NUMBER) ** 1.7)


def low_angle_nm2(atomic_number: NDArray[np.generic] | float) -> NDArray[np.float64]:
    """Cross section (nm²) of one atom out of the bright-field disc; above the high-angle one for every Z to 118."""
    relative = np.asarray(atomic_number, np.float64) / _REFERENCE_NUMBER
    return np.asarray(_LOW_TO_HIGH * _REFERENCE_NM2 * relative**1.4)


def needs_low(kinds: tuple[str, ...]) -> bool:
    """Whether any of these detectors needs the low-angle depth."""
    return any(kind != "HAADF" for kind in kinds)


def detected_fraction(kind: str, high: NDArray[np.float32], low: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Fraction of the beam's electrons that reach the detector ``kind``, of the depths' shape.

    Raises:
        InvalidInput: ``kind`` is not one of :data:`DETECTOR_KINDS`.
    """
    if kind == "HAADF":
        half = np.tanh(np.float32(0.5) * high)  # 1 − e^−x = 2t/(1 + t), t = tanh(x/2): exact where x is small
        return np.asarray(np.float32(2) * half / (np.float32(1) + half), np.float32)
    if kind == "ADF" and low is not None:
        return np.asarray(np.exp(-high) - np.exp(-np.maximum(low, high)), np.float32)
    if kind == "BF" and low is not None:
        return np.asarray(np.exp(-np.maximum(low, high)), np.float32)
    raise InvalidInput("detector kind", kind, f"is not one of {', '.join(DETECTOR_KINDS)}", "name one of those")
