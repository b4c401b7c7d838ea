"""Random plans against both ends' dose limits: how often is one passed?

*The daemon's end*: a real ledger on disk is asked for every scan, and told what a microscope would have counted.
*The microscope's end*: its scanner gets scans from a daemon that checks nothing, and exposes blocks of any size on an
instrument that counts up to twice the electrons that current and dwell say, overheads included, until it is tripped
(``Capabilities.overcount`` states how much that may be; without it the guard learns it from the first blocks). What was
really spent is summed anew here, on the same coarse cells, by nothing of the code that enforces the limit.
Bar: a limit is passed in none of at least 10⁵ plans.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.dose.cells import CELLS
from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.ledger import DoseLedger
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.paths import PathRecipe, Raster, ScanPath
from scancontrol.paths.geometry import Region
from scancontrol.units import ELECTRONS_PER_PA_US
from scancontrol.wire.messages import Limits, Scan
from scancontrol.wire.retention import Retention
from scancontrol.wire.scanner import BeginScan, BlankBeam, Scanner
from scancontrol.wire.transitions import State

__all__ = ["run"]

CURRENT_PA = 10.0
TOLERANCE = 1e-9  # of the limit: rounding of sums


def run(plans: int = 106_000, seed: int = 1) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    rng = np.random.default_rng(seed)
    rows = []
    print(f"{'end':<34}{'plans':>9}{'refused':>9}{'tripped':>9}{'passed':>8}{'highest of limit':>18}{'s':>7}")
    for name, measure, share in (
        ("daemon, its ledger on disk", _daemon, 0.05),
        ("microscope, honest instrument", lambda n, r: _microscope(n, r, 1.0), 0.475),
        ("microscope, counts up to twice", lambda n, r: _microscope(n, r, 2.0, stated=True), 0.475),
        ("(the same, where nobody said so)", lambda n, r: _microscope(n, r, 2.0), 0.02),
    ):
        began = time.perf_counter()
        row = {"end": name, **measure(int(plans * share), rng), "seconds": time.perf_counter() - began}
        rows.append(row)
        print(
            f"{name:<34}{row['plans']:>9}{row['refused']:>9}{row['tripped']:>9}{row['passed']:>8}"
            f"{row['highest']:>18.6f}{row['seconds']:>7.1f}"
        )
    passed = sum(row["passed"] for row in rows[:3])
    total = sum(row["plans"] for row in rows[:3])
    print(
        f"limits passed {passed} times in {total} plans; where an instrument counts more than it said, the first"
        f" samples of a cell can pass its limit before anybody knows: {rows[3]['passed']} of {rows[3]['plans']}"
    )
    return {"rows": rows, "plans": total, "passed": passed}


def _recipe(rng: np.random.Generator, fov_nm: float | None = None, shape: tuple[int, int] | None = None) -> PathRecipe:
    rows, cols = shape or _shape(rng)
    height, width = rng.uniform(0.3, 1.0, 2)
    return PathRecipe(
        pattern=Raster(),
        shape=(rows, cols),
        fov_nm=fov_nm or float(10 ** rng.uniform(0, 4)),
        dwell_us=float(10 ** rng.uniform(-1, 3)),
        region=Region(
            y=float(rng.uniform(0, 1 - height)),
            x=float(rng.uniform(0, 1 - width)),
            height=float(height),
            width=float(width),
        ),
    )


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    rows, cols = (int(n) for n in rng.integers(2, 24, 2))
    return rows, cols


def _electrons(path: ScanPath) -> np.ndarray:
    chunk = path.chunk(0, path.count)
    return chunk.dwell_us * CURRENT_PA * ELECTRONS_PER_PA_US


def _cells(path: ScanPath) -> tuple[np.ndarray, int, float]:
    """The guard's cell of each sample, how many there are, and the area of one in Å²; written out anew."""
    rows, cols = path.shape
    positions = path.chunk(0, path.count).positions
    across = int(np.ceil(CELLS * rows / cols))
    y = np.minimum((positions[:, 0] * CELLS * rows / cols).astype(int), across - 1)
    x = np.minimum((positions[:, 1] * CELLS).astype(int), CELLS - 1)
    return y * CELLS + x, across * CELLS, (path.fov_nm / CELLS) ** 2 * 100.0


def _daemon(plans: int, rng: np.random.Generator) -> dict[str, Any]:
    """Plans of up to eight frames on one specimen after another; places overlap."""
    refused = passed = done = 0
    highest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        while done < plans:
            session = float(10 ** rng.uniform(4, 8))
            limits = DoseLimits(session_electrons=session)
            ledger = DoseLedger(Path(folder), f"s{done}", limits)
            spent = 0.0
            for _ in range(50):
                path = ScanPath(_recipe(rng))
                stage = (float(rng.uniform(-1e4, 1e4)), float(rng.uniform(-1e4, 1e4)))
                frame_limit, area_limit = (10 ** rng.uniform(-2, 5) for _ in range(2))
                ledger.limits = msgspec.structs.replace(
                    limits, frame_e_per_a2=float(frame_limit), area_e_per_a2=float(area_limit)
                )
                before = ledger.area_e_per_a2(path, stage)
                for frame in range(int(rng.integers(1, 9))):
                    try:
                        number = ledger.ask("b", frame, path, 0, CURRENT_PA, stage)
                    except InvalidInput:
                        refused += 1
                        break
                    electrons = float(_electrons(path).sum())
                    ledger.spend(number, path.count, electrons)
                    spent += electrons
                    reached = max(spent / session, ledger.area_e_per_a2(path, stage) / area_limit)
                    if reached > 1 + TOLERANCE and before <= area_limit:
                        passed += 1
                    if before <= area_limit:
                        highest = max(highest, reached)
                done += 1
            ledger.close()
    return {"plans": done, "refused": refused, "tripped": 0, "passed": passed, "highest": highest}


def _microscope(plans: int, rng: np.random.Generator, overcount: float, stated: bool = False) -> dict[str, Any]:
    """Scans from a daemon that checks nothing, straight into the microscope's own state machine."""
    refused = tripped = passed = done = 0
    highest = 0.0
    stated_count = overcount if stated else 1.0
    capabilities = Capabilities(name="limits", beam_current_pa=CURRENT_PA, overcount=stated_count)
    while done < plans:
        fov_nm = float(10 ** rng.uniform(0, 4))
        limits = DoseLimits(
            area_e_per_a2=float(10 ** rng.uniform(-2, 5)),
            frame_e_per_a2=float(10 ** rng.uniform(-2, 5)),
            session_electrons=float(10 ** rng.uniform(4, 9)),
        )
        guard = DoseGuard(limits, capabilities)
        retention = Retention(1 << 30, 4096)
        retention.attach(0, 4096)
        scanner = Scanner(Limits(), ("HAADF",), guard, retention)
        scanner.blanked(0)
        session, area = 0.0, {}
        shapes = [_shape(rng) for _ in range(3)]  # of the scans of one place; each has a map of its own
        for frame in range(25):
            path = ScanPath(_recipe(rng, fov_nm, shapes[int(rng.integers(3))]))
            cells, count, cell_a2 = _cells(path)
            done += 1
            request = Scan(
                request=frame,
                series_id=1,
                series_unique_id="s",
                frame=frame,
                path_id=path.path_id,
                heard=retention.next_sequence,
            )
            try:
                scanner.enqueue(request, path, 0)
            except InvalidInput:
                refused += 1
                continue
            expected = _electrons(path)
            in_frame = np.zeros(count)
            total = area.setdefault(count, np.zeros(count))  # one map for each shape of the same field
            factor = float(rng.uniform(1.0, overcount))
            at = 0
            while scanner.state is State.SCANNING or scanner.read_budget():
                for action in scanner.actions():
                    assert isinstance(action, BeginScan | BlankBeam)
                if at == path.count or scanner.state is not State.SCANNING:
                    break
                n = min(int(rng.integers(1, 1 + path.count)), scanner.read_budget())
                part = expected[at : at + n] * factor
                scanner.exposed(np.zeros((1, n), "<u2"), float(part.sum()), 1, 1)
                dose = np.bincount(cells[at : at + n], weights=part, minlength=count) / cell_a2
                in_frame += dose
                total += dose
                session += float(part.sum())
                at += n
            tripped += at < path.count
            scanner.actions()
            scanner.blanked(0)
            list(retention.to_send())
            retention.acknowledge(retention.next_sequence, retention.next_sequence + 4096)
            reached = max(
                session / limits.session_electrons,
                float(in_frame.max()) / limits.frame_e_per_a2,
                float(total.max()) / limits.area_e_per_a2,
            )
            highest = max(highest, reached)
            passed += reached > 1 + TOLERANCE
    return {"plans": done, "refused": refused, "tripped": tripped, "passed": passed, "highest": highest}
