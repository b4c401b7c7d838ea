"""Frames that look where the one before leaves most open: their pixels are drawn once that is restored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths import Adaptive, PathRecipe, expand
from scancontrol.paths.adaptive import second_pass
from scancontrol.plan.planned import PlannedScan

__all__ = ["SecondLooks"]

_PATIENCE_S: Final = 10.0  # for the restoration of the frame before, beyond the time that scanning it takes


class SecondLooks:
    """Of one acquisition. Told by the restorer's thread, asked by the thread that makes paths.

    Args:
        planned: the plan, with the recipes of frames of which nothing is known.
        restores: whether anything restores.
        say: takes a line for the operator and its level.
    """

    def __init__(self, planned: PlannedScan, restores: bool, say: Callable[[str, str], None]) -> None:
        self._planned, self._restores, self._say = planned, restores, say
        self._told = threading.Condition()
        self._newest: tuple[int, NDArray[Any] | None] = (-1, None)  # frame, and the interval of its restoration
        self._before: PathRecipe | None = None  # of the frame whose recipe was asked for last

    def restored(self, frame: int, interval: NDArray[Any] | None) -> None:
        """A whole frame was restored."""
        with self._told:
            if frame > self._newest[0]:
                self._newest = (frame, interval)
                self._told.notify_all()

    def recipe(self, frame: int) -> PathRecipe:
        """The recipe of a frame; of an adaptive one it waits until the frame before it is restored."""
        recipe, before = self._planned.recipe(frame), self._before
        if isinstance(recipe.pattern, Adaptive) and before is not None:
            recipe = self._adapted(recipe, frame, before)
        self._before = recipe
        return recipe

    def _adapted(self, recipe: PathRecipe, frame: int, before: PathRecipe) -> PathRecipe:
        path, pattern = expand(before), recipe.pattern
        with self._told:
            came = self._restores and self._told.wait_for(
                lambda: self._newest[0] >= frame - 1, path.duration_us * 1e-6 + _PATIENCE_S
            )
            interval = self._newest[1]
        if not came or not isinstance(pattern, Adaptive):
            self._say(f"frame {frame} looks everywhere alike: frame {frame - 1} is not restored", "warning")
            return recipe
        known = np.ones(recipe.shape) if interval is None else interval  # then the distance alone decides
        try:
            drawn = second_pass(known, path.positions, pattern.points or 1, power=pattern.power, seed=pattern.seed)
            return msgspec.structs.replace(recipe, pattern=pattern.at(drawn, recipe.shape))
        except InvalidInput as error:
            self._say(f"frame {frame} looks everywhere alike: {error}", "warning")
            return recipe
