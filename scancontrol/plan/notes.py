"""What the author of a plan should know before the beam is on, in sentences."""

from __future__ import annotations

from scancontrol.plan.figures import PathFigures
from scancontrol.plan.planned import PlannedScan

__all__ = ["notes", "quantisation"]


def quantisation(planned: PlannedScan) -> list[str]:
    """What the hardware makes of the dwell and the positions that were asked for."""
    capabilities, plan = planned.capabilities, planned.plan
    asked, given = plan.dwell_us, planned.patterns[0].dwell_per_pixel_us
    if abs(given / asked - 1) > 1e-9:
        dwell = (
            f"dwell {asked:g} µs becomes {given:g} µs ({given / asked - 1:+.2%}): whole cycles of "
            f"{capabilities.sample_clock_mhz:g} MHz"
        )
    else:
        dwell = f"dwell {given:g} µs is a whole number of cycles of {capabilities.sample_clock_mhz:g} MHz"
    step_px = max(plan.shape) / (1 << capabilities.dac_bits)
    return [
        dwell,
        f"positions on {capabilities.dac_bits} bits: steps of {step_px:.3g} px, moved by at most {step_px / 2:.3g} px",
    ]


def notes(planned: PlannedScan) -> list[str]:
    """What is unusual about each path on this microscope, with what would be better; and the share of the limit."""
    found = [note for one in planned.patterns for note in _notes_on(one, planned)]
    limit = planned.capabilities.dose_limit_e_per_a2
    if limit is not None:
        found.append(
            f"dose limit of the microscope: {limit:.4g} e/Å²; the plan spends "
            f"{planned.worst_area_e_per_a2 / limit:.1%} of it"
        )
    return found


def _notes_on(one: PathFigures, planned: PlannedScan) -> list[str]:
    found = []
    coil, dwell_us, move = planned.capabilities.coil, planned.plan.dwell_us, one.motion
    if move.smooth_turn_khz > coil.bandwidth_khz * (1 + 1e-6):
        fits = dwell_us * move.smooth_turn_khz / coil.bandwidth_khz
        found.append(
            f"{one.title}: its curves turn at up to {move.smooth_turn_khz:.3g} kHz, above the coils' corner of "
            f"{coil.bandwidth_khz:.3g} kHz; dwell_us {fits:.3g} would keep below it"
        )
    if move.lag_worst_px > 1:
        slower_us = dwell_us * move.lag_worst_px
        found.append(
            f"{one.title}: the beam lags by up to {move.lag_worst_px:.2f} px ({coil.time_constant_us:g} µs behind); "
            f"achieved positions are recorded, and dwell_us {slower_us:.3g} would hold it within 1 px"
        )
    if one.overhead > 0.5:
        found.append(
            f"{one.title}: {one.overhead:.0%} of the frame passes blanked, in {one.moves:,} moves; a "
            "pattern drawn in one line (archimedean, line_hop) would save most of it"
        )
    nominal, touched = one.coverage.nominal, one.coverage.touched
    if not 0.8 < nominal / touched < 1.25:
        found.append(
            f"{one.title}: called 1/{1 / nominal:.4g}, it touches 1/{1 / touched:.4g} of the pixels for "
            f"1/{1 / one.coverage.dose:.4g} of the dose"
        )
    return found
