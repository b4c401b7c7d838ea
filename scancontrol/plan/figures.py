"""What a plan comes to: the figures of one frame along each of its paths, and those that page and status show."""

from __future__ import annotations

from dataclasses import dataclass

from scancontrol.capabilities import CoilModel
from scancontrol.dose.electrons import FrameDose, frame_dose
from scancontrol.paths.motion import Motion, motion
from scancontrol.paths.path import Coverage, ScanPath
from scancontrol.paths.pattern import Pattern
from scancontrol.paths.recipe import PathRecipe

__all__ = ["PathFigures", "PlanFigures", "pattern_title"]


@dataclass(frozen=True)
class PathFigures:
    """What one frame along one path costs, and what it asks of the coils."""

    title: str
    recipe: PathRecipe
    samples: int
    coverage: Coverage
    dwell_per_pixel_us: float
    exposure_us: float
    settle_us: float  # blanked time of jumps
    flyback_us: float  # blanked time of line and frame flybacks
    moves: int
    dose: FrameDose
    motion: Motion

    @classmethod
    def of(cls, path: ScanPath, beam_current_pa: float, coil: CoilModel, title: str | None = None) -> PathFigures:
        """The figures of ``path``; a short path is expanded once for all of them, a long one streamed."""
        return cls(
            title=pattern_title(path.recipe.pattern) if title is None else title,
            recipe=path.recipe,
            samples=path.count,
            coverage=path.coverage,
            dwell_per_pixel_us=path.dwell_per_pixel_us,
            exposure_us=path.exposure_us,
            settle_us=path.settle_time_us,
            flyback_us=path.flyback_time_us,
            moves=path.moves,
            dose=frame_dose(path, beam_current_pa),
            motion=motion(path, coil),
        )

    @property
    def duration_us(self) -> float:
        """Time of the whole frame, blanked moves counted."""
        return self.exposure_us + self.settle_us + self.flyback_us

    @property
    def overhead(self) -> float:
        """Fraction of the frame's time in which the beam is blanked."""
        return (self.settle_us + self.flyback_us) / self.duration_us


@dataclass(frozen=True)
class PlanFigures:
    """What the page and the status say of a plan: its first frame's figures, and what limits them."""

    plan: str
    pattern: str
    frames: int
    dwell_us: float
    beam_current_pa: float
    beam_frame_time_ms: float
    worst_area_frame_e_per_a2: float
    dose_limit_e_per_a2: float | None
    coverage_nominal: float
    coverage_touched: float
    coverage_dose: float
    saturation_counts: float


def pattern_title(pattern: Pattern) -> str:
    """What a pattern is called in tables and on the page, such as ``archimedean, linear``."""
    name = str(pattern.__struct_config__.tag).replace("_", " ")
    speed = getattr(pattern, "speed", None)
    return f"{name}, {speed}" if speed else name
