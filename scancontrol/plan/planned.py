"""A plan on one microscope: checked when it is made, and from then on what the acquisition is run from.

Paths are not kept, for they may be longer than memory: what is kept is their recipes and their figures, and
the paths that were asked for last.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.dose import electrons as dose
from scancontrol.dose.limits import check_limit, frames_in_worst_area
from scancontrol.errors import InvalidInput
from scancontrol.paths import expand, solve
from scancontrol.paths.motion import check_slew
from scancontrol.paths.path import ScanPath
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.plan.figures import PathFigures, PlanFigures
from scancontrol.plan.full_raster import full_raster
from scancontrol.plan.plan import ScanPlan
from scancontrol.recent import Recent
from scancontrol.units import rounded_down, rounded_up

__all__ = ["PlannedScan"]

_PATHS_KEPT = 2


class PlannedScan:
    """A plan that this microscope can and may run. There is none that was not checked.

    Args:
        plan: what is asked for.
        capabilities: what the microscope states about itself.

    Raises:
        InvalidInput: the plan asks for a detector, a dwell, a path or a speed that this microscope does not
            have, or for a dose above the plan's own limit or the microscope's.
    """

    def __init__(self, plan: ScanPlan, capabilities: Capabilities) -> None:
        self.plan = plan
        self.capabilities = capabilities
        self._recipes: dict[int, PathRecipe] = {}  # by pattern; those that change their seed are made anew
        self._paths: Recent[PathRecipe, ScanPath] = Recent(_PATHS_KEPT)
        self._check_detectors()
        self._check_dwell(plan.dwell_us)  # this and the coils' lag before anything is computed from them
        self._check_lag()
        total = np.zeros((1, 1))
        patterns = []
        for frame, times in enumerate(plan.repeats()):
            if not times:
                break
            path = self.path(frame)
            patterns.append(self._checked(path))
            total = total + times * dose.area_map_e_per_a2(path, self.beam_current_pa)
        self.patterns: tuple[PathFigures, ...] = tuple(patterns)  # of the frames in which each is first taken
        self.worst_area_e_per_a2 = float(total.max())  # of all frames; new seeds are taken to be alike
        self._check_total()

    # -- what each frame is -------------------------------------------------------------------------------

    @property
    def beam_current_pa(self) -> float:
        """The current that doses are computed with: the plan's, or else the microscope's."""
        asked = self.plan.beam_current_pa
        return self.capabilities.beam_current_pa if asked is None else asked

    @property
    def channels(self) -> tuple[str, ...]:
        """The detectors that are recorded: those that the plan names, in its order, or all of the microscope's."""
        return self.plan.detectors or tuple(channel.name for channel in self.capabilities.detectors)

    def recipe(self, frame: int) -> PathRecipe:
        """The solved recipe of frame ``frame``, counted from 0."""
        turn, number = divmod(frame, len(self.plan.patterns))
        pattern = self.plan.patterns[number]
        if hasattr(pattern, "seed") and pattern.changes_per_frame:
            return self.recipe_of(pattern.for_frame(turn))
        if number not in self._recipes:
            self._recipes[number] = self.recipe_of(pattern)
        recipe = self._recipes[number]
        # A curve that is turned keeps the spacing that was solved for.
        turned = recipe.pattern.for_frame(turn)
        return recipe if turned is recipe.pattern else msgspec.structs.replace(recipe, pattern=turned)

    def path(self, frame: int) -> ScanPath:
        """The scan path of frame ``frame``; the last two are kept."""
        recipe = self.recipe(frame)
        return self._paths.made(recipe, lambda: expand(recipe))

    def electrons(self, frame: int) -> float:
        """Electrons on the specimen in frame ``frame``; frames with a new seed are taken to be like the first."""
        return self.patterns[frame % len(self.plan.patterns)].dose.electrons

    def recipe_of(self, pattern: AnyPattern) -> PathRecipe:
        """The solved recipe of any pattern under this plan.

        Raises:
            InvalidInput: it cannot be.
        """
        return solve(self.plan.recipe_of(pattern, self.capabilities))

    # -- what it comes to ---------------------------------------------------------------------------------

    @property
    def total_time_s(self) -> float:
        """Beam time of all frames, blanked moves counted."""
        times = zip(self.patterns, self.plan.repeats(), strict=False)
        return sum(one.duration_us * repeats for one, repeats in times) * 1e-6

    @property
    def duration_s(self) -> float:
        """From the first frame's beginning to the last one's end, with the waiting between frames."""
        interval_s, last = self.plan.interval_s, self.patterns[(self.plan.frames - 1) % len(self.plan.patterns)]
        waited = (max(0.0, interval_s - one.duration_us * 1e-6) for one in self.patterns)
        waits_s = sum(wait * times for wait, times in zip(waited, self.plan.repeats(), strict=False))
        return self.total_time_s + waits_s - max(0.0, interval_s - last.duration_us * 1e-6)

    @cached_property
    def raster(self) -> PathFigures:
        """A full raster of the same frame, to hold the plan's paths beside."""
        return full_raster(self.recipe_of(Raster()), self.beam_current_pa, self.capabilities.coil)

    @property
    def figures(self) -> PlanFigures:
        """What page and status say of it."""
        first, detector = self.patterns[0], self.capabilities.detector(self.channels[0])
        return PlanFigures(
            plan=self.plan.name,
            pattern=first.title,
            frames=self.plan.frames,
            dwell_us=first.dwell_per_pixel_us,
            beam_current_pa=self.beam_current_pa,
            beam_frame_time_ms=first.duration_us / 1e3,
            worst_area_frame_e_per_a2=first.dose.worst_area_e_per_a2,
            dose_limit_e_per_a2=self.capabilities.dose_limit_e_per_a2,
            coverage_nominal=first.coverage.nominal,
            coverage_touched=first.coverage.touched,
            coverage_dose=first.coverage.dose,
            saturation_counts=float((1 << detector.adc_bits) - 1),
        )

    # -- the check ----------------------------------------------------------------------------------------

    def _check_detectors(self) -> None:
        known = [channel.name for channel in self.capabilities.detectors]
        for at, name in enumerate(self.plan.detectors):
            if name in self.plan.detectors[:at]:
                raise InvalidInput("detectors", name, "is named twice", "name each detector once")
            if name not in known:
                raise InvalidInput(
                    "detectors", name, "is no detector of this microscope", f"choose of {', '.join(known)}"
                )

    def _check_dwell(self, dwell_us: float) -> None:
        shortest, longest = self.capabilities.shortest_dwell_us, self.capabilities.longest_dwell_us
        asked = self.plan.dwell_us
        which = "" if dwell_us == asked else " of a sample"
        if dwell_us < shortest * (1 - 1e-9):
            raise InvalidInput(
                f"dwell_us{which}",
                f"{dwell_us:g}",
                f"is below the microscope's shortest dwell, {shortest:g}",
                f"raise dwell_us to {rounded_up(asked * shortest / dwell_us)} or more",
            )
        if dwell_us > longest * (1 + 1e-9):
            raise InvalidInput(
                f"dwell_us{which}",
                f"{dwell_us:g}",
                f"is above the microscope's longest dwell, {longest:g}",
                f"lower dwell_us to {rounded_down(asked * longest / dwell_us, 4)} or less",
            )

    def _check_lag(self) -> None:
        lag_us = self.capabilities.coil.time_constant_us
        raster_us = self.plan.shape[0] * self.plan.shape[1] * self.plan.dwell_us
        if lag_us > raster_us:
            raise InvalidInput(
                "coil.time_constant_us",
                f"{lag_us:g}",
                f"is longer than a raster of the frame, {raster_us:g} us: the beam would hardly leave where it starts",
                "mend what the microscope states of its coils, or raise dwell_us",
            )

    def _checked(self, path: ScanPath) -> PathFigures:
        limit = self.capabilities.samples_per_path_limit
        if path.count > limit:
            raise InvalidInput(
                "samples",
                path.count,
                f"is above the microscope's limit, {limit}",
                "ask for less coverage or fewer pixels",
            )
        for extreme in path.dwell_range_us if path.weighted else ():
            self._check_dwell(extreme)
        known = PathFigures.of(path, self.beam_current_pa, self.capabilities.coil)
        check_slew(known.motion, path.recipe, self.capabilities.max_slew_fields_per_us)
        frame_limit = self.plan.dose_limits.frame_e_per_a2
        if frame_limit is not None:
            self._check_dose(known.dose.worst_area_e_per_a2, frame_limit, known.coverage.dose, 1)
        return known

    def _check_total(self) -> None:
        frames = self.plan.frames
        coverage = sum(one.coverage.dose for one in self.patterns) / len(self.patterns)
        for limit in (self.plan.dose_limits.total_e_per_a2, self.capabilities.dose_limit_e_per_a2):
            if limit is not None:
                self._check_dose(self.worst_area_e_per_a2, limit, coverage, frames)

    def _check_dose(self, spent: float, limit: float, coverage: float, frames: int) -> None:
        check_limit(
            frames_in_worst_area(frames), spent, limit, dwell_us=self.plan.dwell_us, coverage=coverage, frames=frames
        )
