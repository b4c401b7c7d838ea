"""The ledger of one specimen: asked before the beam moves, accounted for when the microscope has said what it spent.

The order is what makes it safe. A scan is **written down in full before it is asked for**, and replaced by what the
microscope counted when its ``end`` comes. Whatever is killed in between, the next process finds the scan open and
counts all of it, until :meth:`DoseLedger.reconcile` learns from the microscope's own running sum what it really was.
So the ledger may say too much for a while, and never too little.

A ledger is a folder: ``journal.jsonl``, one checked line a record, and ``map.npz``, what the records before it add up
to. ``map.npz`` is replaced as a whole; records that it already holds are skipped by their number.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.dose.electrons import area_map_e_per_a2
from scancontrol.dose.ledger.area import MAX_TILES
from scancontrol.dose.ledger.joining import head_of, joined
from scancontrol.dose.ledger.journal import Journal
from scancontrol.dose.ledger.map_file import VERSION, load_map, save_map
from scancontrol.dose.ledger.state import Asked, LedgerState
from scancontrol.dose.limits import DoseLimits, check_fits, check_limit, frames_in_worst_area
from scancontrol.errors import InvalidInput, StorageError
from scancontrol.paths import ScanPath
from scancontrol.recent import Recent
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["DoseLedger", "LedgerTotals", "check_specimen"]

JOURNAL, MAP = "journal.jsonl", "map.npz"
_COMPACT_BYTES = 1 << 20
_LOOK_S = 0.5
_FRAME_MAPS_KEPT = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class LedgerTotals:
    """One snapshot of a ledger. ``open_scans`` were asked for and are not accounted for yet."""

    specimen: str
    session: str
    electrons: float
    session_electrons: float
    assumed_electrons: float
    promised_electrons: float
    frames: int
    open_scans: int


def check_specimen(name: str) -> str:
    """``name`` if it is a plain one, safe as the name of a folder.

    Raises:
        InvalidInput: it is not a plain one.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            "specimen",
            repr(name),
            "is not made of letters, digits, '.', '_' and '-'",
            "give a plain name such as grid-17",
        )
    return name


class DoseLedger:
    """The open ledger of one specimen, by one process at a time. Methods may be called from any thread.

    Args:
        folder: of all ledgers; this specimen's is a folder in it, made if there is none.
        limits: enforced by :meth:`check` and :meth:`ask`.
        sync: wait for the disk itself at each record, not only for the operating system.
    """

    def __init__(
        self,
        folder: Path,
        specimen: str,
        limits: DoseLimits | None = None,
        *,
        sync: bool = False,
        utc_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder / check_specimen(specimen)
        self.limits = limits or DoseLimits()
        self._utc_ns, self._clock, self._look_at = utc_ns, clock, 0.0
        self._lock = threading.Lock()
        self._most: dict[int, float] = {}  # electrons that each open scan may spend
        self._frame_maps: Recent[str, NDArray[np.float64]] = Recent(_FRAME_MAPS_KEPT)  # e/Å² for each pA, by path
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                "dose ledger", self.folder, f"cannot be made ({error.strerror})", "choose another folder"
            ) from error
        self._journal = Journal(self.folder / JOURNAL, sync=sync)
        try:
            loaded = load_map(self.folder / MAP)
            self._digest = loaded.digest
            self._state = joined(self.folder, loaded, self._journal.open())
            if not self._state.specimen:
                self._write("specimen", specimen=specimen, session=self._now(), version=VERSION)
        except BaseException:
            self._journal.close()
            raise

    # -- what may be asked for --------------------------------------------------------------------------

    def check(
        self,
        paths: Sequence[tuple[ScanPath, int]],
        beam_current_pa: float,
        stage_nm: tuple[float, float],
        *,
        first_index: int = 0,
        limits: DoseLimits | None = None,
    ) -> None:
        """Refuse these paths, so many times each, if they would pass a limit; says what would fit.

        The paths are of one plan: their fields are one field. ``limits`` of the plan hold beside the specimen's.

        Raises:
            DoseLimitPassed: a limit would be passed.
        """
        with self._lock:
            limits = self.limits if limits is None else self.limits.tightest(limits)
            self._check(paths, beam_current_pa, stage_nm, first_index, limits)

    def _check(
        self,
        paths: Sequence[tuple[ScanPath, int]],
        beam_current_pa: float,
        stage_nm: tuple[float, float],
        first: int,
        limits: DoseLimits,
    ) -> tuple[float, float]:
        """The electrons that they will spend, and how many times as many would still pass no limit."""
        state, headroom = self._state, math.inf
        per_us = beam_current_pa * ELECTRONS_PER_PA_US * self._state.overcount
        frames = sum(times for _, times in paths)
        coverage = sum(path.coverage.dose * times for path, times in paths) / frames
        known: dict[str, Any] = {"dwell_us": paths[0][0].recipe.dwell_us, "coverage": coverage, "frames": frames}
        electrons, wanted, of_all_frames = 0.0, None, np.zeros((1, 1))
        for path, times in paths:
            patch = state.patch(path, stage_nm, first, path.count)
            if not state.area.room_for(patch):
                raise InvalidInput("dose map", f"{MAX_TILES} tiles", "is full", "name a new specimen")
            spent = patch.total_us * per_us
            added = patch.dose_e_per_a2(spent)
            if limits.frame_e_per_a2 is not None or limits.total_e_per_a2 is not None:
                of_frame = self._of_frame_e_per_a2(path, beam_current_pa)
                of_all_frames = of_all_frames + times * of_frame
                if limits.frame_e_per_a2 is not None:
                    worst_area, limit = float(of_frame.max()), limits.frame_e_per_a2
                    check_limit(frames_in_worst_area(1), worst_area, limit, **{**known, "frames": 1})
                    headroom = min(headroom, limit / max(worst_area, 1e-300))
            electrons += spent * times
            wanted = added * times if wanted is None else wanted + added * times
        if limits.total_e_per_a2 is not None:
            check_limit(frames_in_worst_area(frames), float(of_all_frames.max()), limits.total_e_per_a2, **known)
        if limits.session_electrons is None and limits.area_e_per_a2 is None:
            return electrons, headroom
        promised_map, promised = state.promised()
        if limits.session_electrons is not None:
            left = limits.session_electrons - state.session_electrons - promised
            otherwise = "begin a new session ('scancontrol ledger DIR --new-session'), or raise the limit"
            limit = limits.session_electrons
            check_fits("session dose", "electrons", electrons, left, limit, **known, otherwise=otherwise)
            headroom = min(headroom, left / max(electrons, 1e-300))
        if limits.area_e_per_a2 is not None and wanted is not None:
            left_by_cell = limits.area_e_per_a2 - state.area.under(patch) - promised_map.under(patch)
            # Of the cells that pass the limit the one that asks for the smallest factor speaks for all.
            factor = np.maximum(left_by_cell, 0) / np.maximum(wanted, 1e-300)
            worst = int(np.argmin(np.where(wanted > 0, factor, np.inf)))
            check_fits(
                "area dose",
                "e/Å²",
                float(wanted.flat[worst]),
                float(left_by_cell.flat[worst]),
                limits.area_e_per_a2,
                **known,
                otherwise="move to a fresh area, or raise the limit if the specimen stands it",
            )
            headroom = min(headroom, float(factor.flat[worst]))
        return electrons, headroom

    def _of_frame_e_per_a2(self, path: ScanPath, beam_current_pa: float) -> NDArray[np.float64]:
        """One whole frame over the cells that a plan's figures are of, as much as the instrument may count."""
        per_pa = self._frame_maps.made(path.path_id, lambda: area_map_e_per_a2(path, 1.0))
        return per_pa * (beam_current_pa * self._state.overcount)

    # -- accounts ---------------------------------------------------------------------------------------

    def ask(
        self,
        series: str,
        frame: int,
        path: ScanPath,
        first_index: int,
        beam_current_pa: float,
        stage_nm: tuple[float, float],
        limits: DoseLimits | None = None,
    ) -> int:
        """Write down a scan that is about to be asked for; returns the number that accounts for it.

        Raises:
            DoseLimitPassed: it would pass a limit.
            StorageError: it cannot be written down.
        """
        with self._lock:
            limits = self.limits if limits is None else self.limits.tightest(limits)
            if not self._journal.keep_room():
                raise StorageError(
                    "dose ledger",
                    self.folder,
                    "has no room left to account for what a scan would expose",
                    "make room on the disk",
                )
            electrons, headroom = self._check([(path, 1)], beam_current_pa, stage_nm, first_index, limits)
            if path.path_id not in self._state.paths:
                self._write("path", path_id=path.path_id, recipe=msgspec.to_builtins(path.recipe))
            number = self._write(
                "asked",
                series=series,
                frame=frame,
                path_id=path.path_id,
                first=first_index,
                stop=path.count,
                electrons=electrons,
                expected=electrons / self._state.overcount,
                y_nm=float(stage_nm[0]),
                x_nm=float(stage_nm[1]),
                utc_ns=self._utc_ns(),
            )
            self._state.paths[path.path_id] = path  # the one whose expansion may be at hand
            self._most[number] = electrons * headroom
            return number

    def most_electrons(self, number: int) -> float:
        """What a scan that was asked for may spend, whatever is counted, and pass no limit; infinite without limits."""
        with self._lock:
            return self._most.get(number, math.inf)

    def withdraw(self, number: int) -> None:
        """The microscope refused it: nothing was exposed."""
        with self._lock:
            self._most.pop(number, None)
            self._write("withdrawn", asked=number)

    def spend(self, number: int, next_index: int, electrons: float, *, how: str = "end") -> None:
        """Account for a scan: the microscope counted ``electrons`` on its samples before ``next_index``."""
        with self._lock:
            self._spend(number, next_index, electrons, how)

    def _spend(self, number: int, next_index: int, electrons: float, how: str) -> None:
        self._most.pop(number, None)
        self._write("spent", asked=number, next=next_index, electrons=electrons, how=how, utc_ns=self._utc_ns())
        if self._journal.bytes > _COMPACT_BYTES:
            self._compact()

    def reconcile(self, server_id: str, session_electrons: float) -> float:
        """Account for scans left open, by the microscope's own sum; to be called while it exposes nothing.

        The same server as before knows exactly how much they were. Of one that was started anew nobody knows: they
        count in full, and the totals say so. Returns the electrons that were still unaccounted for.
        """
        with self._lock:
            state = self._state
            same = server_id == state.server_id
            left = max(0.0, session_electrons - state.server_baseline - state.server_electrons) if same else 0.0
            found = 0.0
            for number, asked in list(state.asked.items()):
                if asked.server_id != server_id:
                    self._spend(number, asked.stop, asked.electrons, "assumed")
                    found += asked.electrons
                    continue
                last = len(state.asked) == 1
                electrons = left if last else min(left, asked.electrons)
                self._spend(number, _reached(asked, electrons), electrons, "reconciled")
                left -= electrons
                found += electrons
            if not same:
                self._write("server", server_id=server_id, electrons=session_electrons)
            return found

    def new_session(self, name: str | None = None) -> None:
        """Begin the session's sum at 0. The area's sums stay: the specimen has not forgotten."""
        with self._lock:
            self._write("session", session=name or self._now())

    # -- what is known ----------------------------------------------------------------------------------

    @property
    def totals(self) -> LedgerTotals:
        """The sums, as of now."""
        with self._lock:
            return _totals(self._state)

    def area_e_per_a2(self, path: ScanPath, stage_nm: tuple[float, float]) -> float:
        """The dose of the most exposed cell that ``path`` touches, so far."""
        with self._lock:
            patch = self._state.patch(path, stage_nm, 0, path.count)
            return float(np.max(self._state.area.under(patch), where=patch.exposure_us > 0, initial=0.0))

    def look(self, *, at_once: bool = False) -> bool:
        """Have the files under their names again where these were removed under us; whether they were.

        Everything is written anew from what is known here. Cheap: looks twice a second at most, or ``at_once``.

        Raises:
            StorageError: there is no place for them; nothing is forgotten meanwhile.
        """
        with self._lock:
            return self._look(at_once)

    def _look(self, at_once: bool) -> bool:
        now = self._clock()
        if now < self._look_at and not at_once:
            return False
        gone = not self._journal.in_place
        if gone:
            self._journal.take_place()
            self._compact()
        self._look_at = now + _LOOK_S
        return gone

    def close(self) -> None:
        """Compact, and let another process have it."""
        with self._lock:
            try:
                self._look(True)
                self._compact()
            finally:
                self._journal.close()

    # -- the files --------------------------------------------------------------------------------------

    def _write(self, kind: str, **facts: Any) -> int:
        """The record reaches the journal, and then the state: never the other way round."""
        record = {"n": self._state.number + 1, "kind": kind, **facts}
        self._journal.append(record)
        self._state.apply(record)
        return self._state.number

    def _compact(self) -> None:
        """Everything so far into the map; open scans stay in the journal, with their paths."""
        state = self._state
        self._digest = save_map(self.folder / MAP, state, self._digest)
        self._journal.replace([head_of(state.number, self._digest)])
        state.forget_paths()  # whoever reads on from here does not have them

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._utc_ns() / 1e9))


def _totals(state: LedgerState) -> LedgerTotals:
    return LedgerTotals(
        specimen=state.specimen,
        session=state.session,
        electrons=state.electrons,
        session_electrons=state.session_electrons,
        assumed_electrons=state.assumed_electrons,
        promised_electrons=sum(asked.electrons for asked in state.asked.values()),
        frames=state.frames,
        open_scans=len(state.asked),
    )


def _reached(asked: Asked, electrons: float) -> int:
    """How far a scan came that spent so many electrons; rounded up, and never beyond its end."""
    if asked.electrons <= 0:
        return asked.stop
    share = min(1.0, electrons / asked.electrons)
    return asked.first_index + math.ceil(share * (asked.stop - asked.first_index))
