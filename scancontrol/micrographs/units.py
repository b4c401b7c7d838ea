"""Lengths as files write them: by any of the usual units, or in something that is no length."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

__all__ = ["no_picture", "pixel_nm"]

_NM = {
    "m": 1e9,
    "meter": 1e9,
    "meters": 1e9,
    "cm": 1e7,
    "mm": 1e6,
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "nm": 1.0,
    "nanometer": 1.0,
    "pm": 1e-3,
    "å": 0.1,
    "a": 0.1,
    "ang": 0.1,
    "angstrom": 0.1,
    "ångström": 0.1,
}
_SPECTRAL = ("ev", "kev", "mev", "meV".lower(), "cm-1", "s", "ms", "us")
_LARGEST_NM = 1e8  # a pixel of a decimetre is none of a microscope


def pixel_nm(sizes: Sequence[object], units: Sequence[object]) -> tuple[float, float] | None:
    """Height and width of a pixel in nm, of the sizes along y and x and their units; None where they say no length."""
    found = [_number(size) * _NM.get(_plain(unit), math.nan) for size, unit in zip(sizes, units, strict=True)]
    if len(found) != 2 or not all(1e-5 < size < _LARGEST_NM for size in found):  # a NaN is neither
        return None
    return found[0], found[1]


def no_picture(units: Sequence[object]) -> str:
    """What pixels in these units show instead of a place, in words; empty where nothing speaks against a picture."""
    for unit in units:
        plain = _plain(unit)
        if re.search(r"^1/|^/|-1$|\^-1|^rad$|^mrad$|^deg$", plain):
            return f"has pixels in {_text(unit)}, a diffraction pattern"
        if plain in _SPECTRAL:
            return f"has an axis in {_text(unit)}, spectra"
    return ""


def _text(unit: object) -> str:
    return unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)


def _plain(unit: object) -> str:
    """In small letters, of one spelling of µ, without blanks, brackets and the underscores of EMD (``[n_m]``)."""
    text = _text(unit).replace("\\u00B5", "u").replace("\\u00b5", "u").strip().lower()
    return re.sub(r"[\s\[\]_\x00]", "", text).replace("µ", "u").replace("μ", "u")


def _number(size: object) -> float:
    try:
        return abs(float(size))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
