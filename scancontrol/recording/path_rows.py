"""The paths of a recording that is being written: each once, with its recipe, in the room that was planned for them."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from scancontrol.errors import RecordingError
from scancontrol.paths import ScanPath
from scancontrol.recording.layout import PATH_ROW, Capacity
from scancontrol.recording.progress import new_row
from scancontrol.recording.region_file import RegionFile

__all__ = ["PathRows"]


class PathRows:
    """Which row of the path table each path has, and where its positions lie.

    Args:
        capacity: how many paths, positions and bytes of recipes the recording has room for.
        known: path_id → (row, first position, count) of those that are in the file, in the order of rows.
    """

    def __init__(self, capacity: Capacity, known: dict[str, tuple[int, int, int]] | None = None) -> None:
        self._capacity = capacity
        self._known = dict(known or {})

    def place_of(self, path_id: str) -> tuple[int, int, int]:
        """(row, first position, count) of a path that is in the file."""
        return self._known[path_id]

    def path_id(self, row: int) -> str:
        """The path in a row."""
        return list(self._known)[row]

    def add(self, path: ScanPath, file: RegionFile, status: NDArray[Any]) -> int:
        """The path's row in the table; a new one is written to ``file``, and counted in the row ``status``.

        Raises:
            RecordingError: there is no room for it, or the disk does not take it.
        """
        if path.path_id in self._known:
            return self._known[path.path_id][0]
        recipe = msgspec.json.encode(path.recipe)
        room, row = self._capacity, len(self._known)
        first, recipe_first = int(status["path_samples"][0]), int(status["recipe_bytes"][0])
        too_long = first + path.count > room.path_samples or recipe_first + len(recipe) > room.recipe_bytes
        if row >= room.paths or too_long:
            raise RecordingError(
                f"path {path.path_id} does not fit: the recording was made for {room.paths} paths of "
                f"{room.path_samples} samples and {room.recipe_bytes} bytes of recipes in all; make it larger"
            )
        values = new_row(
            PATH_ROW,
            path_id=path.path_id.encode(),
            first=first,
            count=path.count,
            recipe_first=recipe_first,
            recipe_bytes=len(recipe),
        )
        file.write("recipes", 0, recipe_first, recipe)
        file.write_row("paths", row, values)
        status["path_rows"] = row + 1
        status["path_samples"] = first + path.count
        status["recipe_bytes"] = recipe_first + len(recipe)
        self._known[path.path_id] = (row, first, path.count)
        return row
