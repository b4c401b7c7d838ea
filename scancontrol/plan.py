"""Scan plans: what a person writes, as YAML, and what it becomes on a microscope.

A plan names one or more patterns, which the frames take in turn. :meth:`ScanPlan.recipe` turns it into the recipe
of one frame for one microscope, with the frame's seed, the coils' settling and the hardware's quantisation in it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from scancontrol import dose
from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput
from scancontrol.paths.path import ScanPath
from scancontrol.paths.points import Points, read_points
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.paths.spirals import Archimedean
from scancontrol.paths.timing import Settle
from scancontrol.paths.geometry import Region

__all__ = ["DoseLimits", "ScanPlan", "SettleRule", "load_capabilities", "load_plan", "parse_plan"]

T = TypeVar("T")


class SettleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the beam has to have settled before a sample; the time follows from the coils' time constant."""

    tolerance_px: float = 0.25
    flyback_us: float = 0.0


class DoseLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the plan's author allows: mean dose over the scanned region, in one frame and in all of them."""

    frame_e_per_a2: float | None = None
    total_e_per_a2: float | None = None


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
    dose_limits: DoseLimits = DoseLimits()

    def recipe(self, frame: int, capabilities: Capabilities) -> PathRecipe:
        """The solved recipe of frame ``frame`` (from 0). Raises :class:`InvalidInput` if it cannot be."""
        pattern = self.patterns[frame % len(self.patterns)].for_frame(frame // len(self.patterns))
        coil = capabilities.coil
        if isinstance(pattern, Archimedean) and pattern.max_turns_per_sample is None and coil.time_constant_us > 0:
            # Near the centre the beam turns no faster than the coils' −3 dB corner.
            turns = coil.bandwidth_khz * 1e-3 * self.dwell_us
            pattern = msgspec.structs.replace(pattern, max_turns_per_sample=turns)
        settle = None
        if self.settle is not None:
            settle = Settle(
                time_constant_us=coil.time_constant_us, order=coil.order, damping=coil.damping,
                tolerance_px=self.settle.tolerance_px, flyback_us=self.settle.flyback_us,
            )
        return PathRecipe(
            pattern=pattern, shape=self.shape, fov_nm=self.fov_nm, dwell_us=self.dwell_us, region=self.region,
            rotation_deg=self.rotation_deg, settle=settle, dac_bits=capabilities.dac_bits,
            clock_mhz=capabilities.sample_clock_mhz,
        ).solve()

    def path(self, frame: int, capabilities: Capabilities) -> ScanPath:
        """The scan path of frame ``frame``."""
        return self.recipe(frame, capabilities).expand()

    def current_pa(self, capabilities: Capabilities) -> float:
        """The beam current that the doses are computed with."""
        return capabilities.beam_current_pa if self.beam_current_pa is None else self.beam_current_pa

    def check(self, capabilities: Capabilities) -> None:
        """Raise :class:`InvalidInput` if the plan cannot be, or this microscope cannot or must not run it."""
        if not self.patterns:
            raise InvalidInput("patterns", "[]", "names no pattern", "give at least one pattern")
        if not 1 <= self.frames <= 10_000_000:
            raise InvalidInput("frames", self.frames, "is outside 1 to 10000000", "give a whole number of frames")
        if not (math.isfinite(self.dwell_us) and self.dwell_us > 0):
            raise InvalidInput("dwell_us", self.dwell_us, "is not a finite number above 0", "give it in microseconds")
        if self.beam_current_pa is not None and not (math.isfinite(self.beam_current_pa) and self.beam_current_pa > 0):
            raise InvalidInput("beam_current_pa", self.beam_current_pa, "is not a finite number above 0",
                               "give it in picoamperes, or leave it out to use the microscope's")
        self._check_detectors(capabilities)
        doses = []
        for frame in range(min(self.frames, len(self.patterns))):
            path = self.path(frame, capabilities)
            self._check_hardware(path, capabilities)
            doses.append(self._check_frame_dose(path, capabilities))
        self._check_total_dose(doses, capabilities)

    def _check_detectors(self, capabilities: Capabilities) -> None:
        known = [channel.name for channel in capabilities.detectors]
        for name in self.detectors:
            if name not in known:
                raise InvalidInput("detectors", name, "is no detector of this microscope", f"choose of {', '.join(known)}")

    def _check_hardware(self, path: ScanPath, capabilities: Capabilities) -> None:
        if path.count > capabilities.samples_per_path_limit:
            raise InvalidInput("samples", path.count, f"is above the microscope's limit, {capabilities.samples_per_path_limit}",
                               "ask for less coverage or fewer pixels")
        shortest = min(float(chunk.dwell_us.min()) for chunk in path.chunks())
        longest = max(float(chunk.dwell_us.max()) for chunk in path.chunks())
        asked = self.dwell_us * (shortest / path.dwell_per_pixel_us)
        if min(shortest, asked) < capabilities.shortest_dwell_us * (1 - 1e-9):
            raise InvalidInput("dwell_us", f"{min(shortest, asked):g}",
                               f"is below the microscope's shortest dwell, {capabilities.shortest_dwell_us:g}",
                               f"raise it to {self.dwell_us * capabilities.shortest_dwell_us / min(shortest, asked):.4g} or more")
        if longest > capabilities.longest_dwell_us:
            raise InvalidInput("dwell_us", f"{longest:g}",
                               f"is above the microscope's longest dwell, {capabilities.longest_dwell_us:g}",
                               f"lower it to {self.dwell_us * capabilities.longest_dwell_us / longest:.4g} or less")

    def _check_frame_dose(self, path: ScanPath, capabilities: Capabilities) -> float:
        frame = dose.frame_dose(path, self.current_pa(capabilities))
        if self.dose_limits.frame_e_per_a2 is not None:
            dose.check_limit("dose of one frame", frame.region_e_per_a2, self.dose_limits.frame_e_per_a2,
                             dwell_us=self.dwell_us, coverage=path.coverage.dose, frames=1)
        return frame.region_e_per_a2

    def _check_total_dose(self, doses: list[float], capabilities: Capabilities) -> None:
        total = sum(value * len(range(i, self.frames, len(self.patterns))) for i, value in enumerate(doses))
        coverage = sum(self.path(i, capabilities).coverage.dose for i in range(len(doses))) / len(doses)
        for limit in (self.dose_limits.total_e_per_a2, capabilities.dose_limit_e_per_a2):
            if limit is not None:
                dose.check_limit(f"dose of {self.frames} frames", total, limit, dwell_us=self.dwell_us,
                                 coverage=coverage, frames=self.frames)


def load_plan(path: str | Path) -> ScanPlan:
    """Read a plan from a YAML file; points files are read too. Raises :class:`InvalidInput`."""
    path = Path(path)
    plan = parse_plan(_read(path, "plan"), str(path))
    patterns = tuple(
        read_points(path.parent / pattern.file) if isinstance(pattern, Points) and pattern.file else pattern
        for pattern in plan.patterns
    )
    return msgspec.structs.replace(plan, patterns=patterns)


def parse_plan(text: str, source: str = "plan") -> ScanPlan:
    """Read a plan from YAML text. Raises :class:`InvalidInput` for anything that is not a plan."""
    return _parse(text, ScanPlan, source)


def load_capabilities(path: str | Path) -> Capabilities:
    """Read and check what a microscope states about itself from a YAML file. Raises :class:`InvalidInput`."""
    capabilities = _parse(_read(Path(path), "microscope"), Capabilities, str(path))
    capabilities.check()
    return capabilities


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(what, str(path), f"cannot be read ({error})", "check the file's name") from error


def _parse(text: str, kind: type[T], source: str) -> T:
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(source, "", f"is not YAML ({' '.join(str(error).split())})", "mend the file") from error
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(source, "", f"is not understood: {error}", "mend the file") from error
