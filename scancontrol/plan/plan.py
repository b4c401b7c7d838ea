"""Scan plans: what a person writes, as YAML.

A plan names one or more patterns, which the frames take in turn. What it becomes on one microscope, and whether it
may run there, is :class:`scancontrol.plan.planned.PlannedScan`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from scancontrol.capabilities import Capabilities, CoilModel
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.files import beside, convert, load_yaml, parse_yaml
from scancontrol.paths.geometry import Region
from scancontrol.paths.patterns.adaptive import Adaptive
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.spirals import Archimedean
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.paths.timing import Settle
from scancontrol.plan.positions import Field, read_positions

__all__ = ["ScanPlan", "SettleRule", "load_capabilities", "load_plan", "load_plan_and_notes", "parse_plan"]


_LONGEST_INTERVAL_S = 86_400.0
MAX_NAME = 200
"""Characters in a plan's name, which page, recording and wire carry."""


class SettleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the beam has to have settled before a sample; the time follows from the coils' time constant."""

    tolerance_px: float = 0.25
    flyback_us: float = 0.0

    def on(self, coil: CoilModel, slew_px_per_us: float) -> Settle:
        """The settling of these coils, whose drivers move the beam no faster than ``slew_px_per_us``."""
        return Settle(
            time_constant_us=coil.time_constant_us,
            order=coil.order,
            damping=coil.damping,
            tolerance_px=self.tolerance_px,
            flyback_us=self.flyback_us,
            slew_px_per_us=slew_px_per_us if math.isfinite(slew_px_per_us) else None,
        )


class ScanPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An acquisition. ``shape`` is (rows, cols); ``fov_nm`` the width of the field of view.

    Raises:
        InvalidInput: the plan cannot be on any microscope.
    """

    name: str
    shape: tuple[int, int]
    fov_nm: float
    dwell_us: float
    patterns: tuple[AnyPattern, ...]
    frames: int = 1
    interval_s: float = 0.0  # from the beginning of one frame to that of the next, at least; blanked between them
    region: Region = Region()
    rotation_deg: float = 0.0
    detectors: tuple[str, ...] = ()  # all that the microscope has where empty
    beam_current_pa: float | None = None  # the microscope's where None
    settle: SettleRule | None = SettleRule()
    dose_limits: DoseLimits = DoseLimits()  # what the plan's author allows

    def __post_init__(self) -> None:
        if not (self.name.strip() and len(self.name) <= MAX_NAME):
            value = repr(self.name if len(self.name) <= 40 else self.name[:40] + "...")
            raise InvalidInput("name", value, f"is not of 1 to {MAX_NAME} characters", "give the plan a short name")
        if not self.patterns:
            raise InvalidInput("patterns", "[]", "names no pattern", "give at least one pattern")
        if not 1 <= self.frames <= 10_000_000:
            raise InvalidInput("frames", self.frames, "is outside 1 to 10000000", "give a whole number of frames")
        if not 0 <= self.interval_s <= _LONGEST_INTERVAL_S:
            limit = f"is outside 0 to {_LONGEST_INTERVAL_S:g} s, a day"
            raise InvalidInput("interval_s", self.interval_s, limit, "give 0 for frames without a pause between them")
        if self.beam_current_pa is not None and not (math.isfinite(self.beam_current_pa) and self.beam_current_pa > 0):
            raise InvalidInput(
                "beam_current_pa", self.beam_current_pa, "is not a finite number above 0", "give one, or leave it out"
            )
        if any(isinstance(pattern, Adaptive) for pattern in self.patterns) and not self._whole:
            raise InvalidInput(
                "region", self.region, "is not the whole field, which adaptive frames look at", "leave it out"
            )
        for pattern in self.patterns:
            if not (isinstance(pattern, Points) and pattern.file is not None):  # its points are not read yet
                self.recipe_of(pattern)

    @property
    def _whole(self) -> bool:
        return self.region == Region() and self.rotation_deg == 0

    def recipe_of(self, pattern: AnyPattern, capabilities: Capabilities | None = None) -> PathRecipe:
        """The recipe of one pattern under this plan, not yet solved: on a microscope, or on one without limits."""
        hardware: dict[str, Any] = {}
        coil, slew = CoilModel(time_constant_us=0.0), math.inf
        if capabilities is not None:
            coil, slew = capabilities.coil, capabilities.max_slew_fields_per_us * self.shape[1]
            hardware = {"dac_bits": capabilities.dac_bits, "clock_mhz": capabilities.sample_clock_mhz}
        if isinstance(pattern, Archimedean) and pattern.max_turns_per_sample is None and coil.time_constant_us > 0:
            # Near the centre the beam turns no faster than the coils' −3 dB corner.
            turns = coil.bandwidth_khz * 1e-3 * self.dwell_us
            pattern = msgspec.structs.replace(pattern, max_turns_per_sample=turns)
        return PathRecipe(
            pattern=pattern,
            shape=self.shape,
            fov_nm=self.fov_nm,
            dwell_us=self.dwell_us,
            region=self.region,
            rotation_deg=self.rotation_deg,
            settle=None if self.settle is None else self.settle.on(coil, slew),
            **hardware,
        )

    def repeats(self) -> tuple[int, ...]:
        """How many of the frames take each pattern."""
        return tuple(len(range(i, self.frames, len(self.patterns))) for i in range(len(self.patterns)))


def load_plan(path: str | Path) -> ScanPlan:
    """Read a plan from a YAML file, and the files of positions that it names, from beside it.

    Raises:
        InvalidInput: it is no plan, or cannot be on any microscope.
    """
    return load_plan_and_notes(path)[0]


def load_plan_and_notes(path: str | Path) -> tuple[ScanPlan, tuple[str, ...]]:
    """As :func:`load_plan`, and in sentences how files of positions were understood."""
    path = Path(path)
    return _complete(load_yaml(path, ScanPlan), path)


def parse_plan(text: str, source: str = "plan") -> ScanPlan:
    """Read a plan from YAML text.

    Raises:
        InvalidInput: like :func:`load_plan`.
    """
    return _complete(convert(parse_yaml(text, source), ScanPlan, source), Path("plan"))[0]


def _complete(plan: ScanPlan, file: Path) -> tuple[ScanPlan, tuple[str, ...]]:
    patterns, said = list[AnyPattern](), list[str]()
    whole = plan.region == Region() and plan.rotation_deg == 0
    for pattern in plan.patterns:
        if isinstance(pattern, Points) and pattern.file is not None:
            field = Field(plan.shape, plan.fov_nm, plan.dwell_us, whole)
            pattern, notes = read_positions(beside(file, pattern.file), field, pattern.jump_px)
            said.extend(notes)
        patterns.append(pattern)
    return msgspec.structs.replace(plan, patterns=tuple(patterns)), tuple(said)


def load_capabilities(path: str | Path) -> Capabilities:
    """Read and check what a microscope states about itself from a YAML file.

    Raises:
        InvalidInput: it cannot be read, or states something impossible.
    """
    return load_yaml(Path(path), Capabilities)
