"""The paths that a microscope knows, by content hash: bounded in number and size, least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from scancontrol.errors import InvalidInput, RemoteProtocolError
from scancontrol.paths import PathRecipe, ScanPath

__all__ = ["PathRegistry", "expand_recipe"]


def expand_recipe(path_id: str, recipe: Mapping[str, Any], samples_limit: int) -> ScanPath:
    """The path of a recipe that came over the wire.

    Costs time in proportion to the path, so the shell may do it outside its loop; needs no state.

    Raises:
        RemoteProtocolError: not a recipe, or not the one whose hash is ``path_id``.
        InvalidInput: a quantity in it cannot be, or the path is longer than the microscope takes.
    """
    try:
        typed = msgspec.convert(recipe, PathRecipe)
    except (msgspec.MsgspecError, RecursionError) as error:
        if isinstance(error.__cause__, InvalidInput):  # a recipe, of a path that cannot be
            raise error.__cause__ from None
        raise RemoteProtocolError(f"recipe: {error}") from None
    if typed.path_id != path_id:
        raise RemoteProtocolError(f"recipe: its hash is {typed.path_id}, not {path_id}")
    path = ScanPath(typed)
    if path.count > samples_limit:
        raise InvalidInput(
            "path samples",
            path.count,
            f"is above the microscope's limit, {samples_limit}",
            "lower the coverage or the frame's size",
        )
    return path


class PathRegistry:
    """Registered paths; one that is being scanned, or is queued, is never let go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._paths: OrderedDict[str, ScanPath] = OrderedDict()

    def __contains__(self, path_id: str) -> bool:
        return path_id in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def get(self, path_id: str) -> ScanPath | None:
        """The path, which becomes the most recently used; None if it is not (or no longer) known."""
        if path_id in self._paths:
            self._paths.move_to_end(path_id)
        return self._paths.get(path_id)

    def add(self, path: ScanPath, in_use: frozenset[str]) -> None:
        """Take a path in, and let the least recently used ones that are not ``in_use`` go."""
        self._paths[path.path_id] = path
        self._paths.move_to_end(path.path_id)
        for path_id in list(self._paths):
            if len(self._paths) <= self._limit:
                break
            if path_id not in in_use and path_id != path.path_id:
                del self._paths[path_id]
