"""What a plan comes to on a microscope: time, dose, overhead and demands, beside a full raster's."""

from __future__ import annotations

from dataclasses import dataclass

from scancontrol.capabilities import Capabilities
from scancontrol.dose import electrons as dose
from scancontrol.paths.motion import Motion, motion
from scancontrol.paths.path import ScanPath
from scancontrol.paths.pattern import Pattern
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.plan.plan import ScanPlan

__all__ = ["PathFigures", "PlanSummary", "pattern_title", "summary"]


@dataclass(frozen=True)
class PathFigures:
    """The figures of one frame along one pattern."""

    title: str
    path: ScanPath
    dose: dose.FrameDose
    motion: Motion

    @property
    def overhead(self) -> float:
        """Fraction of the frame's time in which the beam is blanked."""
        return self.path.move_time_us / self.path.duration_us


@dataclass(frozen=True)
class PlanSummary:
    """A plan on a microscope. ``patterns`` are in the order of the cycle; ``raster`` stands beside them."""

    plan: ScanPlan
    capabilities: Capabilities
    patterns: tuple[PathFigures, ...]
    raster: PathFigures

    @property
    def total_time_s(self) -> float:
        """Beam time of all frames, blanked moves counted."""
        times = zip(self.patterns, self.plan.repeats(), strict=False)
        return sum(one.path.duration_us * repeats for one, repeats in times) * 1e-6

    @property
    def total_dose_e_per_a2(self) -> float:
        """Dose of the most exposed area after all frames."""
        return self.plan.total_dose_e_per_a2(self.capabilities)

    def quantisation(self) -> list[str]:
        """What the hardware makes of the dwell and the positions that were asked for."""
        lines = []
        asked, given = self.plan.dwell_us, self.patterns[0].path.dwell_per_pixel_us
        if abs(given / asked - 1) > 1e-9:
            lines.append(
                f"dwell {asked:g} µs becomes {given:g} µs ({given / asked - 1:+.2%}): whole cycles of "
                f"{self.capabilities.sample_clock_mhz:g} MHz"
            )
        else:
            lines.append(
                f"dwell {given:g} µs is a whole number of cycles of {self.capabilities.sample_clock_mhz:g} MHz"
            )
        step_px = max(self.plan.shape) / (1 << self.capabilities.dac_bits)
        lines.append(
            f"positions on {self.capabilities.dac_bits} bits: steps of {step_px:.3g} px, moved by at most "
            f"{step_px / 2:.3g} px"
        )
        return lines

    def notes(self) -> list[str]:
        """What the plan's author should know before the beam is on."""
        found = []
        corner_khz = self.capabilities.coil.bandwidth_khz
        for one in self.patterns:
            move, dwell_us = one.motion, self.plan.dwell_us
            if move.smooth_turn_khz > corner_khz * (1 + 1e-6):
                fits = dwell_us * move.smooth_turn_khz / corner_khz
                found.append(
                    f"{one.title}: its curves turn at up to {move.smooth_turn_khz:.3g} kHz, above the coils' corner of "
                    f"{corner_khz:.3g} kHz; dwell_us {fits:.3g} would keep below it"
                )
            if move.lag_worst_px > 1:
                tau = self.capabilities.coil.time_constant_us
                slower = dwell_us * move.lag_worst_px
                found.append(
                    f"{one.title}: the beam lags by up to {move.lag_worst_px:.2f} px ({tau:g} µs behind); achieved "
                    f"positions are recorded, and dwell_us {slower:.3g} would hold it within 1 px"
                )
            if one.overhead > 0.5:
                found.append(
                    f"{one.title}: {one.overhead:.0%} of the frame passes blanked, in {one.path.moves:,} moves; a "
                    "pattern drawn in one line (archimedean, line_hop) would save most of it"
                )
            nominal, touched = one.path.coverage.nominal, one.path.coverage.touched
            if not 0.8 < nominal / touched < 1.25:
                found.append(
                    f"{one.title}: called 1/{1 / nominal:.4g}, it touches 1/{1 / touched:.4g} of the pixels for "
                    f"1/{1 / one.path.coverage.dose:.4g} of the dose"
                )
        limit = self.capabilities.dose_limit_e_per_a2
        if limit is not None:
            found.append(
                f"dose limit of the microscope: {limit:.4g} e/Å²; the plan spends "
                f"{self.total_dose_e_per_a2 / limit:.1%} of it"
            )
        return found


def summary(plan: ScanPlan, capabilities: Capabilities) -> PlanSummary:
    """Work out ``plan`` on a microscope. Raises :class:`InvalidInput` if the plan cannot run there."""
    plan.check(capabilities)
    current_pa = plan.current_pa(capabilities)

    def figures(title: str, path: ScanPath) -> PathFigures:
        return PathFigures(title, path, dose.frame_dose(path, current_pa), motion(path, capabilities.coil))

    used = range(min(plan.frames, len(plan.patterns)))
    return PlanSummary(
        plan=plan,
        capabilities=capabilities,
        patterns=tuple(figures(pattern_title(plan.patterns[i]), plan.path(i, capabilities)) for i in used),
        raster=figures("full raster", plan.recipe_of(Raster(), capabilities).expand()),
    )


def pattern_title(pattern: Pattern) -> str:
    """What a pattern is called in tables and on the page, such as ``archimedean, linear``."""
    name = str(pattern.__struct_config__.tag).replace("_", " ")
    speed = getattr(pattern, "speed", None)
    return f"{name}, {speed}" if speed else name
