"""Scan plans: what a person writes, as YAML, and what it becomes on a microscope.

A plan names one or more patterns, which the frames take in turn. :meth:`ScanPlan.recipe` turns it into the recipe
of one frame for one microscope, with the frame's seed, the coils' settling and the hardware's quantisation in it.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.dose import electrons as dose
from scancontrol.dose.limits import DoseLimits, check_limit
from scancontrol.errors import InvalidInput
from scancontrol.files import convert, load_yaml, parse_yaml
from scancontrol.paths.geometry import Region
from scancontrol.paths.motion import check_slew
from scancontrol.paths.path import ScanPath
from scancontrol.paths.patterns.points import Points, read_points
from scancontrol.paths.patterns.spirals import Archimedean
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.paths.timing import Settle

__all__ = ["ScanPlan", "SettleRule", "load_capabilities", "load_plan", "parse_plan"]


class SettleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the beam has to have settled before a sample; the time follows from the coils' time constant."""

    tolerance_px: float = 0.25
    flyback_us: float = 0.0


class ScanPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An acquisition. ``shape`` is (rows, cols); ``fov_nm`` the width of the field of view."""

    name: str
    shape: tuple[int, int]
    fov_nm: float
    dwell_us: float
    patterns: tuple[AnyPattern, ...]
    frames: int = 1
    region: Region = Region()
    rotation_deg: float = 0.0
    detectors: tuple[str, ...] = ()  # all that the microscope has where empty
    beam_current_pa: float | None = None  # the microscope's where None
    settle: SettleRule | None = SettleRule()
    dose_limits: DoseLimits = DoseLimits()  # what the plan's author allows

    def recipe(self, frame: int, capabilities: Capabilities) -> PathRecipe:
        """The solved recipe of frame ``frame`` (from 0). Raises :class:`InvalidInput` if it cannot be."""
        pattern = self.patterns[frame % len(self.patterns)].for_frame(frame // len(self.patterns))
        return self.recipe_of(pattern, capabilities)

    def recipe_of(self, pattern: AnyPattern, capabilities: Capabilities) -> PathRecipe:
        """The solved recipe of one pattern under this plan. Raises :class:`InvalidInput` if it cannot be."""
        coil = capabilities.coil
        raster_us = self.shape[0] * self.shape[1] * self.dwell_us
        if coil.time_constant_us > raster_us:  # asked before the path is solved, which would take its time
            raise InvalidInput(
                "coil.time_constant_us",
                f"{coil.time_constant_us:g}",
                f"is longer than a raster of the frame, {raster_us:g} us: the beam would hardly leave where it starts",
                "mend what the microscope states of its coils, or raise dwell_us",
            )
        if isinstance(pattern, Archimedean) and pattern.max_turns_per_sample is None and coil.time_constant_us > 0:
            # Near the centre the beam turns no faster than the coils' −3 dB corner.
            turns = coil.bandwidth_khz * 1e-3 * self.dwell_us
            pattern = msgspec.structs.replace(pattern, max_turns_per_sample=turns)
        settle = None
        if self.settle is not None:
            slew = capabilities.max_slew_fields_per_us * self.shape[1]
            settle = Settle(
                time_constant_us=coil.time_constant_us,
                order=coil.order,
                damping=coil.damping,
                tolerance_px=self.settle.tolerance_px,
                flyback_us=self.settle.flyback_us,
                slew_px_per_us=slew if math.isfinite(slew) else None,
            )
        return PathRecipe(
            pattern=pattern,
            shape=self.shape,
            fov_nm=self.fov_nm,
            dwell_us=self.dwell_us,
            region=self.region,
            rotation_deg=self.rotation_deg,
            settle=settle,
            dac_bits=capabilities.dac_bits,
            clock_mhz=capabilities.sample_clock_mhz,
        ).solve()

    def path(self, frame: int, capabilities: Capabilities) -> ScanPath:
        """The scan path of frame ``frame``."""
        return self.recipe(frame, capabilities).expand()

    def current_pa(self, capabilities: Capabilities) -> float:
        """The beam current that the doses are computed with."""
        return capabilities.beam_current_pa if self.beam_current_pa is None else self.beam_current_pa

    def frame_dose(self, frame: int, capabilities: Capabilities) -> dose.FrameDose:
        """Electrons and dose of one frame."""
        return dose.frame_dose(self.path(frame, capabilities), self.current_pa(capabilities))

    def repeats(self) -> tuple[int, ...]:
        """How many of the frames take each pattern."""
        return tuple(len(range(i, self.frames, len(self.patterns))) for i in range(len(self.patterns)))

    def total_dose_e_per_a2(self, capabilities: Capabilities) -> float:
        """Dose of the most exposed area after all frames; new seeds are taken to give frames like the first."""
        maps = [
            dose.area_map_e_per_a2(self.path(i, capabilities), self.current_pa(capabilities)) * times
            for i, times in enumerate(self.repeats())
            if times
        ]
        return float(np.sum(maps, axis=0).max())

    def check_alone(self) -> None:
        """Raise :class:`InvalidInput` for what is wrong with the plan on any microscope."""
        if not self.patterns:
            raise InvalidInput("patterns", "[]", "names no pattern", "give at least one pattern")
        if not 1 <= self.frames <= 10_000_000:
            raise InvalidInput("frames", self.frames, "is outside 1 to 10000000", "give a whole number of frames")
        if self.beam_current_pa is not None and not (math.isfinite(self.beam_current_pa) and self.beam_current_pa > 0):
            raise InvalidInput(
                "beam_current_pa", self.beam_current_pa, "is not a finite number above 0", "give one, or leave it out"
            )
        settle = (
            None
            if self.settle is None
            else Settle(time_constant_us=0.0, tolerance_px=self.settle.tolerance_px, flyback_us=self.settle.flyback_us)
        )
        for pattern in self.patterns:
            PathRecipe(
                pattern=pattern,
                shape=self.shape,
                fov_nm=self.fov_nm,
                dwell_us=self.dwell_us,
                region=self.region,
                rotation_deg=self.rotation_deg,
                settle=settle,
            ).check()

    def check(self, capabilities: Capabilities) -> None:
        """Raise :class:`InvalidInput` if the plan cannot be, or this microscope cannot or must not run it."""
        self.check_alone()
        known = [channel.name for channel in capabilities.detectors]
        for name in self.detectors:
            if name not in known:
                raise InvalidInput(
                    "detectors", name, "is no detector of this microscope", f"choose of {', '.join(known)}"
                )
        self._check_dwell(self.dwell_us, capabilities)  # before anything is computed from it
        for frame in range(min(self.frames, len(self.patterns))):
            path = self.path(frame, capabilities)
            limit = capabilities.samples_per_path_limit
            if path.count > limit:
                raise InvalidInput(
                    "samples",
                    path.count,
                    f"is above the microscope's limit, {limit}",
                    "ask for less coverage or fewer pixels",
                )
            for extreme in path.dwell_range_us if path.weighted else ():
                self._check_dwell(extreme, capabilities)
            check_slew(path, capabilities)
            if self.dose_limits.frame_e_per_a2 is not None:
                spent = self.frame_dose(frame, capabilities).worst_area_e_per_a2
                check_limit(
                    "dose of one frame",
                    spent,
                    self.dose_limits.frame_e_per_a2,
                    dwell_us=self.dwell_us,
                    coverage=path.coverage.dose,
                    frames=1,
                )
        limits = (self.dose_limits.total_e_per_a2, capabilities.dose_limit_e_per_a2)
        for limit_e_per_a2 in limits:
            if limit_e_per_a2 is not None:
                self._check_total(limit_e_per_a2, capabilities)

    def _check_dwell(self, dwell_us: float, capabilities: Capabilities) -> None:
        shortest, longest = capabilities.shortest_dwell_us, capabilities.longest_dwell_us
        which = "" if dwell_us == self.dwell_us else " of a sample"
        if dwell_us < shortest * (1 - 1e-9):
            raise InvalidInput(
                f"dwell_us{which}",
                f"{dwell_us:g}",
                f"is below the microscope's shortest dwell, {shortest:g}",
                f"raise dwell_us to {self.dwell_us * shortest / dwell_us:.4g} or more",
            )
        if dwell_us > longest * (1 + 1e-9):
            raise InvalidInput(
                f"dwell_us{which}",
                f"{dwell_us:g}",
                f"is above the microscope's longest dwell, {longest:g}",
                f"lower dwell_us to {self.dwell_us * longest / dwell_us:.4g} or less",
            )

    def _check_total(self, limit_e_per_a2: float, capabilities: Capabilities) -> None:
        cycle = range(min(self.frames, len(self.patterns)))
        coverage = sum(self.path(i, capabilities).coverage.dose for i in cycle) / len(cycle)
        frames = f"{self.frames} frames" if self.frames > 1 else "1 frame"
        check_limit(
            f"dose of {frames}",
            self.total_dose_e_per_a2(capabilities),
            limit_e_per_a2,
            dwell_us=self.dwell_us,
            coverage=coverage,
            frames=self.frames,
        )


def load_plan(path: str | Path) -> ScanPlan:
    """Read a plan from a YAML file, and the points files that it names, from beside it.

    Raises :class:`InvalidInput` for anything that is not a plan, or cannot be on any microscope.
    """
    path = Path(path)
    return _complete(load_yaml(path, ScanPlan), path.parent)


def parse_plan(text: str, source: str = "plan") -> ScanPlan:
    """Read a plan from YAML text. Raises :class:`InvalidInput` like :func:`load_plan`."""
    return _complete(convert(parse_yaml(text, source), ScanPlan, source), Path())


def _complete(plan: ScanPlan, folder: Path) -> ScanPlan:
    patterns = tuple(
        msgspec.structs.replace(read_points(folder / pattern.file), jump_px=pattern.jump_px)
        if isinstance(pattern, Points) and pattern.file is not None
        else pattern
        for pattern in plan.patterns
    )
    plan = msgspec.structs.replace(plan, patterns=patterns)
    plan.check_alone()
    return plan


def load_capabilities(path: str | Path) -> Capabilities:
    """Read and check what a microscope states about itself from a YAML file. Raises :class:`InvalidInput`."""
    capabilities = load_yaml(Path(path), Capabilities)
    capabilities.check()
    return capabilities
