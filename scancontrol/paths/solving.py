"""From a recipe to its path: the pattern's free parameter is solved for the coverage by measuring what it gives."""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec

from scancontrol.errors import InvalidInput
from scancontrol.paths.path import ScanPath
from scancontrol.paths.recipe import PathRecipe

__all__ = ["TOLERANCE", "expand", "solve"]

TOLERANCE = 0.005
"""The largest relative error of a solved coverage, as far as whole pixels allow it."""

AIM = 0.003
PROXY_SAMPLES = 24_000
"""Paths longer than four times this are first tried on a smaller frame, on which they have about so many samples."""


def expand(recipe: PathRecipe) -> ScanPath:
    """The scan path of a recipe, solved first where that is needed, and computed lazily.

    Raises:
        InvalidInput: no path has the coverage that is asked for, or there is none at all.
    """
    return ScanPath(solve(recipe))


def solve(recipe: PathRecipe) -> PathRecipe:
    """``recipe`` with its pattern's free parameter set; itself where nothing is to be solved.

    Raises:
        InvalidInput: no value of the parameter gives the coverage.
    """
    if recipe.pattern.solved:
        return recipe
    # Coverage depends on neither the settling nor the absolute scale: frames and plans that differ there share it.
    # A bent path has the samples of the straight one.
    bare = msgspec.structs.replace(recipe, settle=None, fov_nm=1.0, bend_px=msgspec.UNSET)
    return msgspec.structs.replace(recipe, pattern=_solve(bare).pattern)


@lru_cache(maxsize=256)
def _solve(recipe: PathRecipe) -> PathRecipe:
    goal = recipe.pattern.coverage
    if goal is None:
        raise InvalidInput("coverage", None, "is missing", "give it, or the pattern's own parameter")
    target, pixels = goal.value, recipe.placement.canvas.pixels
    # One sample more or less is the finest step that a path has.
    aim = max(AIM, 0.5 / (target * pixels))
    accept = max(TOLERANCE, 1.0 / (target * pixels))
    density = _first_density(recipe)
    below: tuple[float, float] | None = None  # (log density, measured) with too little coverage
    above: tuple[float, float] | None = None
    best = (math.inf, 0.0, density, recipe)  # error, measured, density, recipe

    def measure(density: float) -> float:
        nonlocal best
        trial = _at(recipe, density)
        measured = _measured(trial)
        best = min(best, (abs(measured / target - 1), measured, density, trial), key=lambda found: found[0])
        return measured

    for _ in range(20):
        measured = measure(density)
        if best[0] <= aim:
            break
        if measured < target:
            below = (math.log(density), measured)
        else:
            above = (math.log(density), measured)
        previous, density = density, _next_density(density, measured, target, below, above)
        if abs(density / previous - 1) < 1e-9:
            break
    if best[0] > accept:
        # Samples that fall in step with the pixels make the coverage jump about: look around the nearest.
        nearest = best[2]
        for k in range(1, 41):
            measure(nearest * (1 + (-1) ** k * 0.0005 * k))
            if best[0] <= accept:
                break
    if best[0] > accept:
        raise InvalidInput(
            "coverage",
            target,
            f"({goal.by}) cannot be met by this pattern on this frame: the nearest is {best[1]:.4g}",
            "ask for that, or choose another pattern",
        )
    return best[3]


def _at(recipe: PathRecipe, density: float) -> PathRecipe:
    return msgspec.structs.replace(recipe, pattern=recipe.pattern.at_density(density, recipe.placement.canvas))


def _measured(recipe: PathRecipe) -> float:
    goal = recipe.pattern.coverage
    coverage = ScanPath(recipe).coverage
    return coverage.dose if goal is not None and goal.by == "dose" else coverage.touched


def _first_density(recipe: PathRecipe) -> float:
    goal = recipe.pattern.coverage
    target = goal.value if goal else 1.0
    share = PROXY_SAMPLES / (recipe.placement.canvas.pixels * target)
    if share > 0.25:
        return target
    # How much a line of this pattern touches hardly depends on the frame's size: learn it on a small one.
    rows, cols = recipe.shape
    proxy = msgspec.structs.replace(recipe, shape=(round(rows * math.sqrt(share)), round(cols * math.sqrt(share))))
    measured = _measured(_at(proxy, target))
    return target * target / measured if measured > 0 else target


def _next_density(
    density: float, measured: float, target: float, below: tuple[float, float] | None, above: tuple[float, float] | None
) -> float:
    """Proportional while one side is unknown, then bracketed interpolation, held away from the bracket's ends."""
    if below is None or above is None:
        factor = target / measured if measured > 0 else 4.0
        return density * min(max(factor * (1.001 if factor > 1 else 0.999), 0.25), 4.0)
    share = (target - below[1]) / (above[1] - below[1])
    share = min(max(share, 0.05), 0.95)
    return math.exp(below[0] + share * (above[0] - below[0]))
