"""What a ledger knows: sums, map, and the scans that were asked for and not yet accounted for.

:class:`LedgerState` is what the journal's records add up to, and nothing else: replaying them gives the same state.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scancontrol.dose.ledger.area import AreaMap, Patch, patch_of
from scancontrol.errors import InvalidInput
from scancontrol.paths import PathRecipe, ScanPath
from scancontrol.recent import Recent

__all__ = ["Asked", "LedgerState", "Place"]

_PATHS_KEPT = 64
_PATCHES_KEPT = 16
_PLACES = 4096


@dataclass
class Place:
    """What one stage position has had."""

    stage_nm: tuple[float, float]
    fov_nm: float  # the largest field scanned there
    frames: int = 0
    electrons: float = 0.0
    last_utc_ns: int = 0


@dataclass(frozen=True)
class Asked:
    """A scan that the microscope was asked for. Until it is accounted for, all of it counts as spent."""

    number: int
    series: str
    frame: int
    path_id: str
    first_index: int
    stop: int
    electrons: float  # of samples first_index to stop, with what the instrument was seen to overcount
    stage_nm: tuple[float, float]
    server_id: str
    expected: float = 0.0  # of the same samples, by current and dwell alone


@dataclass
class LedgerState:
    """See the module. Electrons are as the microscope stated them; dose in e/Å²."""

    specimen: str = ""
    session: str = ""
    number: int = 0  # of the last record
    electrons: float = 0.0
    session_electrons: float = 0.0
    frames: int = 0
    assumed_electrons: float = 0.0  # of the total: counted in full because nobody could say
    overcount: float = 1.0  # electrons counted over electrons expected, the most of any scan
    server_id: str = ""
    server_baseline: float = 0.0  # what the server had counted when this ledger first met it
    server_electrons: float = 0.0  # accounted for here since
    area: AreaMap = field(default_factory=AreaMap)
    places: dict[tuple[float, float], Place] = field(default_factory=dict)
    asked: OrderedDict[int, Asked] = field(default_factory=OrderedDict)
    paths: OrderedDict[str, ScanPath] = field(default_factory=OrderedDict)
    _patches: Recent[tuple[Any, ...], Patch] = field(default_factory=lambda: Recent(_PATCHES_KEPT))

    def apply(self, record: dict[str, Any]) -> None:
        """Take one record in.

        Raises:
            InvalidInput: for one that this program did not write.
        """
        try:
            self._apply(record)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(
                "dose ledger",
                f"record {record.get('n')}",
                f"is not of this program ({error})",
                "restore the ledger from a copy, or name a new specimen",
            ) from error
        self.number = int(record["n"])

    def _apply(self, record: dict[str, Any]) -> None:
        kind = record["kind"]
        if kind == "specimen":
            self.specimen, self.session = str(record["specimen"]), str(record["session"])
        elif kind == "session":
            self.session, self.session_electrons = str(record["session"]), 0.0
        elif kind == "path":
            self.keep_path(ScanPath(msgspec.convert(record["recipe"], PathRecipe)))
        elif kind == "server":
            self.server_id, self.server_electrons = str(record["server_id"]), 0.0
            self.server_baseline = _amount(record["electrons"])
        elif kind == "asked":
            asked = Asked(
                number=int(record["n"]),
                series=str(record["series"]),
                frame=int(record["frame"]),
                path_id=str(record["path_id"]),
                first_index=int(record["first"]),
                stop=int(record["stop"]),
                electrons=_amount(record["electrons"]),
                stage_nm=(float(record["y_nm"]), float(record["x_nm"])),
                server_id=self.server_id,
                expected=_amount(record.get("expected", 0.0)),
            )
            if asked.path_id not in self.paths:
                raise ValueError(f"unknown path {asked.path_id}")
            self.asked[asked.number] = asked
        elif kind == "withdrawn":
            del self.asked[int(record["asked"])]
        elif kind == "spent":
            self._spent(record)
        else:
            raise ValueError(f"kind {kind!r}")

    def keep_path(self, path: ScanPath) -> None:
        """Remember a path; those of open scans stay."""
        self.paths[path.path_id] = path
        self.paths.move_to_end(path.path_id)
        open_ids = {asked.path_id for asked in self.asked.values()}
        for path_id in list(self.paths)[: max(0, len(self.paths) - _PATHS_KEPT)]:
            if path_id not in open_ids:
                del self.paths[path_id]

    def _spent(self, record: dict[str, Any]) -> None:
        asked = self.asked.pop(int(record["asked"]))
        electrons, stop = _amount(record["electrons"]), int(record["next"])
        self.electrons += electrons
        self.session_electrons += electrons
        self.frames += 1
        self._remember(asked, electrons, stop, record)
        if record["how"] == "assumed":
            self.assumed_electrons += electrons
        if asked.server_id == self.server_id:
            self.server_electrons += electrons
        path = self.paths[asked.path_id]
        stop = min(max(stop, asked.first_index), path.count)
        if electrons > 0:
            # Electrons without a sample (exposed, and lost before anybody counted it) lie at the first sample.
            last = max(stop, min(asked.first_index + 1, path.count))
            self.area.add(self.patch(path, asked.stage_nm, asked.first_index, last), electrons)
        place = self.places.get(asked.stage_nm)
        if place is None and len(self.places) < _PLACES:
            place = self.places.setdefault(asked.stage_nm, Place(asked.stage_nm, path.fov_nm))
        if place is not None:
            place.frames += 1
            place.electrons += electrons
            place.fov_nm = max(place.fov_nm, path.fov_nm)
            place.last_utc_ns = max(place.last_utc_ns, int(record["utc_ns"]))

    def _remember(self, asked: Asked, electrons: float, stop: int, record: dict[str, Any]) -> None:
        """What an instrument counted beyond what it said it would, so that no later process has to find out again."""
        if record["how"] != "end" or asked.expected <= 0 or electrons <= 0:
            return
        path = self.paths[asked.path_id]
        last = min(stop + 1, path.count)  # a sample that was cut off may be in it
        if last <= asked.first_index:
            return
        share = 1.0
        if last < asked.stop:
            whole = self.patch(path, asked.stage_nm, asked.first_index, asked.stop).total_us
            share = self.patch(path, asked.stage_nm, asked.first_index, last).total_us / whole
        if share > 0:
            self.overcount = max(self.overcount, electrons / (share * asked.expected))

    def promised(self) -> tuple[AreaMap, float]:
        """What the open scans may still spend: their map, and their electrons."""
        area, electrons = AreaMap(), 0.0
        for asked in self.asked.values():
            path = self.paths[asked.path_id]
            area.add(self.patch(path, asked.stage_nm, asked.first_index, asked.stop), asked.electrons)
            electrons += asked.electrons
        return area, electrons

    def patch(self, path: ScanPath, stage_nm: tuple[float, float], first: int, stop: int) -> Patch:
        """:func:`patch_of`, remembered for the paths in use."""
        key = (path.path_id, stage_nm, first, stop)
        return self._patches.made(key, lambda: patch_of(path, stage_nm, first, stop))

    def forget_paths(self) -> None:
        """Let all paths go but those of open scans."""
        open_ids = {asked.path_id for asked in self.asked.values()}
        for path_id in [path_id for path_id in self.paths if path_id not in open_ids]:
            del self.paths[path_id]


def _amount(value: Any) -> float:
    amount = float(value)
    if not (math.isfinite(amount) and amount >= 0):
        raise ValueError(f"{amount} electrons")
    return amount
