"""Plans built in Python: a pattern and how it is scanned, without a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from scancontrol import paths
from scancontrol.errors import InvalidInput
from scancontrol.paths.pattern import CoverageGoal, Pattern
from scancontrol.paths.recipe import AnyPattern
from scancontrol.plan.figures import pattern_title
from scancontrol.plan.plan import ScanPlan, load_plan

__all__ = ["JitteredGrid", "LineHop", "PlanLike", "Raster", "Serpentine", "Spiral", "plan_from", "scan_plan"]

PlanLike: TypeAlias = ScanPlan | Pattern | str | Path
"""A plan; a pattern, with how it is scanned; the file of a plan; or the name of one that the daemon offers."""


def _with_coverage(kind: Callable[..., AnyPattern]) -> Callable[..., AnyPattern]:
    def pattern(coverage: float | CoverageGoal | None = None, **parameters: Any) -> AnyPattern:
        """A pattern that touches the fraction ``coverage`` of the region's pixels; ``parameters`` as in a plan's YAML.

        Raises:
            InvalidInput: a parameter cannot be.
        """
        if isinstance(coverage, int | float):
            coverage = CoverageGoal(value=float(coverage))
        try:
            return kind(coverage=coverage, **parameters)
        except TypeError as error:
            raise InvalidInput(
                "pattern", kind.__name__, f"does not take this ({error})", "see docs/explanation/scan-paths.md"
            ) from error

    pattern.__name__ = pattern.__qualname__ = kind.__name__
    return pattern


Spiral = _with_coverage(paths.Archimedean)
JitteredGrid = _with_coverage(paths.JitteredGrid)
LineHop = _with_coverage(paths.LineHop)
Serpentine = _with_coverage(paths.Serpentine)
Raster = _with_coverage(paths.Raster)


def scan_plan(
    pattern: AnyPattern,
    *more: AnyPattern,
    fov_nm: float,
    dwell_us: float,
    shape: tuple[int, int] = (512, 512),
    name: str = "",
    **others: Any,
) -> ScanPlan:
    """A plan of one pattern, or of several that the frames take in turn. ``others`` as in a plan's YAML.

    Raises:
        InvalidInput: it cannot be on any microscope.
    """
    patterns = (pattern, *more)
    try:
        return ScanPlan(
            name=name or pattern_title(pattern),
            shape=(int(shape[0]), int(shape[1])),
            fov_nm=float(fov_nm),
            dwell_us=float(dwell_us),
            patterns=patterns,
            **others,
        )
    except TypeError as error:
        raise InvalidInput("plan", sorted(others), f"is no plan ({error})", "use the keys of a plan's YAML") from error


def plan_from(asked: PlanLike, settings: dict[str, Any]) -> ScanPlan | str:
    """What to send for ``asked``: a plan, or the name of one that the daemon offers.

    Raises:
        InvalidInput: it is none of these, or settings are given for what has its own.
    """
    if isinstance(asked, Pattern):
        missing = [name for name in ("fov_nm", "dwell_us") if name not in settings]
        if missing:
            raise InvalidInput(
                "plan", pattern_title(asked), f"is a pattern without {' and '.join(missing)}", "give them beside it"
            )
        return scan_plan(asked, **settings)  # type: ignore[arg-type]
    if settings:
        names = ", ".join(settings)
        raise InvalidInput("plan", asked, f"has its own {names}", "give these with a pattern, or change the plan")
    if isinstance(asked, ScanPlan):
        return asked
    if isinstance(asked, Path) or str(asked).endswith((".yaml", ".yml")):
        return load_plan(asked)
    return str(asked)
