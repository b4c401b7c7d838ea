"""How a path becomes known to the microscope: its recipe, where needed its positions in pieces, and its expansion.

Only the operator is listened to. Who waits for an expansion is answered when it is there, each waiting request once.
"""

from __future__ import annotations

from typing import Any

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RemoteProtocolError
from scancontrol.wire import messages as m
from scancontrol.wire.registry import PathRegistry
from scancontrol.wire.scanner import Action, ExpandRecipe
from scancontrol.wire.uploads import Upload

__all__ = ["Registrations"]

Waiting = tuple[bytes, int]  # (connection, request) that waits for a path


class Registrations:
    """Paths that are on their way into ``paths``.

    ``at_once`` may be expanded at the same time; ``needs_cells`` is whether dose limits need the cells of each.
    """

    def __init__(self, paths: PathRegistry, capabilities: Capabilities, at_once: int, needs_cells: bool) -> None:
        self._paths, self._capabilities = paths, capabilities
        self._at_once, self._needs_cells = at_once, needs_cells
        self._expanding: dict[str, list[Waiting]] = {}  # by path, who waits for it
        self._upload: Upload | None = None  # of an operator's own positions
        self._expansions: list[Action] = []

    def expansions(self) -> list[Action]:
        """Recipes to expand now; each is told once."""
        expansions, self._expansions = self._expansions, []
        return expansions

    def register(self, connection: bytes, message: m.Register) -> m.Done | m.Refused | m.Wanted | None:
        """A recipe came; what to answer now. Without an answer, it is being expanded."""
        waiting = (connection, message.request)
        if self._paths.get(message.path_id) is not None:
            return m.Done(request=message.request)
        if message.path_id in self._expanding:
            if waiting not in self._expanding[message.path_id]:
                self._expanding[message.path_id].append(waiting)
            return None
        if len(self._expanding) >= self._at_once:
            return m.Refused(
                request=message.request,
                code="queue_full",
                remedy="wait for their answers",
                message=f"{len(self._expanding)} paths are being expanded",
            )
        if message.data_bytes == 0:
            self._expand(message.path_id, message.recipe, waiting)
            return None
        if self._upload is None or self._upload.register != message:
            self._upload = Upload(message)  # else it is asked again: a piece, or this, was lost
        return self._upload.wanted()

    def take_piece(self, connection: bytes, piece: m.Piece) -> m.Wanted | m.Refused | None:
        """A stretch of the operator's own positions came; what to answer now. One that nobody waits for is nothing."""
        upload = self._upload
        if upload is None:
            return None
        try:
            wanted = upload.take(piece)
            if upload.complete:
                self._upload = None
                self._expand(upload.register.path_id, upload.recipe(), (connection, upload.register.request))
        except RemoteProtocolError as error:
            self._upload = None
            return m.Refused(request=upload.register.request, code="malformed", message=str(error))
        return wanted

    def expanded(self, path_id: str) -> list[Waiting]:
        """A path was expanded, or cannot be: who waits to hear of that."""
        return self._expanding.pop(path_id, [])

    def forget_upload(self) -> None:
        """The operator has left: the rest of the positions will not come."""
        self._upload = None

    @property
    def uploading(self) -> bool:
        """Whether positions are being fetched."""
        return self._upload is not None

    def _expand(self, path_id: str, recipe: dict[str, Any], waiting: Waiting) -> None:
        self._expanding[path_id] = [waiting]
        stated = self._capabilities
        dwell_us = (stated.shortest_dwell_us, stated.longest_dwell_us)
        limit = stated.samples_per_path_limit
        self._expansions.append(ExpandRecipe(path_id, recipe, limit, dwell_us, self._needs_cells))
