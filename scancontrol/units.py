"""Constants of nature and of notation, and how lengths and doses are written and rounded for people."""

from __future__ import annotations

import math

__all__ = ["A2_PER_NM2", "ELECTRONS_PER_PA_US", "length_label", "per_a2", "rounded_down", "rounded_up", "scale_bar_nm"]

ELECTRONS_PER_PA_US = 1e-18 / 1.602176634e-19
"""Electrons in one picoampere during one microsecond: 6.2415 (the elementary charge is exact, SI 2019)."""

A2_PER_NM2 = 100.0
"""Square ångströms in a square nanometre."""


def per_a2(dose_e_per_a2: float) -> str:
    """A dose as people write it: ``0.0123 e/Å²``, ``12.3 e/Å²``, ``4,909 e/Å²``."""
    if 100 <= dose_e_per_a2 < 1e7:
        return f"{dose_e_per_a2:,.0f} e/Å²"
    return f"{dose_e_per_a2:.3g} e/Å²"


def length_label(length_nm: float) -> str:
    """``0.5 nm``, ``20 nm``, ``2 µm``: the unit that keeps the number short."""
    if length_nm >= 1000:
        return f"{length_nm / 1000:g} µm"
    return f"{length_nm:g} nm" if length_nm >= 0.1 else f"{length_nm * 1000:g} pm"


def scale_bar_nm(fov_nm: float, share: float = 0.25) -> float:
    """The longest 1, 2 or 5 × 10ⁿ nm that is at most ``share`` of the field of view."""
    limit = fov_nm * share
    decade = 10.0 ** math.floor(math.log10(limit))
    return max(step * decade for step in (1, 2, 5) if step * decade <= limit * (1 + 1e-9))


def rounded_down(value: float, digits: int = 3) -> str:
    """``value`` with so many significant digits, never above it: what a limit allows may be typed in as printed."""
    if value <= 0:
        return "0"
    digit = _digit(value, digits)
    return f"{math.floor(value / digit + 1e-9) * digit:.{digits}g}"


def rounded_up(value: float, digits: int = 4) -> str:
    """``value`` with so many significant digits, never below it, for what must be reached. ``value`` is above 0."""
    digit = _digit(value, digits)
    return f"{math.ceil(value / digit - 1e-9) * digit:.{digits}g}"


def _digit(value: float, digits: int) -> float:
    """What the last of so many significant digits stands for."""
    return 10.0 ** (math.floor(math.log10(value)) - digits + 1)
