"""How much a specimen may get: one kind of limits for a plan, a specimen and a microscope, and how a refusal reads.

Of frames, densities are means over the worst area, the most exposed cell of the field cut into 64 across
(:mod:`scancontrol.dose.electrons`); ``area_e_per_a2`` is held against the ledger's own map of the specimen.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from scancontrol.errors import DoseLimitPassed, InvalidInput
from scancontrol.units import rounded_down

__all__ = ["DoseLimits", "check_fits", "check_limit", "frames_in_worst_area"]


class DoseLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits on what the specimen gets; None is no limit.

    Raises:
        InvalidInput: a limit is not a finite number above 0.
    """

    frame_e_per_a2: float | None = None  # in one frame
    total_e_per_a2: float | None = None  # in all frames of one plan
    area_e_per_a2: float | None = None  # in all that the place has ever had
    session_electrons: float | None = None  # on all places of the specimen since the session began

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidInput(
                    f"dose_limits.{name}", value, "is not a finite number above 0", "give one, or leave it out"
                )

    def tightest(self, other: DoseLimits) -> DoseLimits:
        """The lower of each limit of the two."""
        lower: dict[str, Any] = {}
        for name in self.__struct_fields__:
            values = [value for value in (getattr(self, name), getattr(other, name)) if value is not None]
            lower[name] = min(values, default=None)
        return DoseLimits(**lower)


def frames_in_worst_area(frames: int) -> str:
    """What the dose of so many frames over the most exposed cell is called, in every refusal."""
    return f"dose of {'one frame' if frames == 1 else f'{frames} frames'} in the worst area"


def check_limit(
    quantity: str, dose_e_per_a2: float, limit_e_per_a2: float, *, dwell_us: float, coverage: float, frames: int
) -> None:
    """Refuse a dose that passes its limit, and say by how much and what would fit.

    ``coverage`` is the dose coverage that the plan has; dose is proportional to it, to the dwell and to the frames.

    Raises:
        DoseLimitPassed: the dose is above the limit.
    """
    if dose_e_per_a2 <= limit_e_per_a2:
        return
    raise DoseLimitPassed(
        quantity,
        f"{dose_e_per_a2:.4g} e/Å²",
        f"passes the limit of {limit_e_per_a2:.4g} e/Å² by {dose_e_per_a2 - limit_e_per_a2:.4g} e/Å² "
        f"({dose_e_per_a2 / limit_e_per_a2:.4g} times)",
        _what_fits(limit_e_per_a2 / dose_e_per_a2, dwell_us, coverage, frames),
    )


def check_fits(
    quantity: str,
    unit: str,
    wanted: float,
    left: float,
    limit: float,
    *,
    dwell_us: float,
    coverage: float,
    frames: int,
    otherwise: str,
) -> None:
    """Refuse what does not fit into what is left of a limit that earlier scans have used up in part.

    ``otherwise`` is the remedy where hardly anything would fit.

    Raises:
        DoseLimitPassed: ``wanted`` is above ``left``.
    """
    if wanted <= left:
        return
    spent, factor = limit - left, max(0.0, left) / wanted
    raise DoseLimitPassed(
        quantity,
        f"{spent + wanted:.4g} {unit}",
        f"({spent:.4g} spent, {wanted:.4g} asked for) passes the specimen's limit of {limit:.4g} {unit} "
        f"by {wanted - left:.4g} {unit}",
        _what_fits(factor, dwell_us, coverage, frames) if factor > 1e-3 else otherwise,
    )


def _what_fits(factor: float, dwell_us: float, coverage: float, frames: int) -> str:
    """What a person may type in as printed, and it fits: rounded down."""
    fewer = int(frames * factor * (1 + 1e-12))
    return (
        f"lower dwell_us from {dwell_us:g} to {rounded_down(dwell_us * factor)}, or the coverage (by dose) from "
        f"{coverage:.4g} to {rounded_down(coverage * factor)}"
        + (f", or take {fewer} frames instead of {frames}" if frames > 1 and fewer >= 1 else "")
    )
