"""Chaos: seeded scans, each damaged at a random moment, and then counted. ``python -m benchmarks.chaos --scans 200``.

Real processes on real sockets: the simulated microscope, the daemon with its restorer, a TCP relay between the two, a
disk with a switch, browsers. After every scan its recording is opened and compared, sample by sample, with what the
simulator itself noted as exposed: nothing may be lost, nothing exposed twice, nothing recorded that was not exposed.

With ``--orders N``, orders are first given at the worst moments (:mod:`benchmarks.chaos.orders`): after a Blank or
an Abort nothing may be exposed, and one Start is one acquisition. With ``--lies``, instruments and peers then lie
beside a real daemon (:mod:`benchmarks.chaos.lies`): nothing may be exposed after a Blank either, and no limit passed.

One kind of loss is counted apart, because no software on this side can prevent it: samples that existed only in the
memory of a microscope's server that was killed. They are never exposed again.

What recovery means: for a kill, the time from the kill (the process is started again at once, as a service manager
would) to the first sample exposed after it; for a fault that passes, from its end to the first sample exposed. A scan
that a killed microscope cut off ends; there it is the time until the daemon is connected to its successor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.lies import run_lies
from benchmarks.chaos.orders import run_orders
from benchmarks.chaos.processes import ROOT
from benchmarks.chaos.rig import LIMIT_S, Rig, closed
from scancontrol.errors import RecordingError
from scancontrol.recording import RecordingReader
from simulators.side_files.exposure_log import read_log, tally

__all__ = ["Chaos", "main", "run"]

_SCAN_S = 1.0  # about what the plan takes undisturbed
_SLOW_S = 15.0  # a scan that takes longer is told of


@dataclass
class Tally:
    """What happened over all scans."""

    scans: int = 0
    not_ended: int = 0
    exposed: int = 0
    recorded: int = 0
    lost: int = 0
    lost_with_microscope: int = 0
    duplicated: int = 0
    never_exposed: int = 0  # recorded, though the simulator knows nothing of them
    unreadable: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    endings: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)  # scans that took long, and where


class Chaos:
    """Scans on a rig, their damage, and the count. Everything random comes from ``seed``."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack, *, restorer: bool = True) -> None:
        self.random = np.random.default_rng(seed)
        self.rig = Rig(folder, self.random, stack, restorer=restorer)
        self.tally = Tally()

    def scan(self, kinds: list[str]) -> None:
        """One acquisition with these faults, and the count after it."""
        before = set(self.rig.out.glob("*.hspy"))
        offset = self.rig.log.stat().st_size
        pressed = time.monotonic()
        self.rig.begin(before)
        began = time.monotonic()
        fresh: list[Path] = []
        killed = False
        for at_s, kind in sorted(zip(self.random.uniform(0, 0.9 * _SCAN_S, len(kinds)), kinds, strict=True)):
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            self.tally.faults[kind] += 1
            killed |= kind == "microscope killed"
            recovery_s = FAULTS[kind](self.rig)
            if recovery_s is not None:
                self.tally.recovery_s[kind].append(recovery_s)
        damaged = time.monotonic()
        deadline = began + LIMIT_S
        while not (fresh and all(closed(path) for path in fresh)) and time.monotonic() < deadline:
            time.sleep(0.1)
            fresh = sorted(set(self.rig.out.glob("*.hspy")) - before)
        ended = time.monotonic() < deadline
        if time.monotonic() - pressed > _SLOW_S:
            times = (began - pressed, damaged - began, time.monotonic() - damaged)
            spent = "start {:.1f} s, damage {:.1f} s, end {:.1f} s".format(*times)
            said = " / ".join(self.rig.daemon.lines[-8:])
            self.tally.slow.append(f"scan {self.tally.scans + 1} {kinds}: {spent}; the daemon said: {said}")
        self._count(fresh, offset, kinds, killed=killed, ended=ended)
        if ended:
            for path in fresh:
                path.unlink()
        else:
            self.rig.begin_anew()  # it must not spoil the next one

    def give_up(self, kinds: list[str], error: Exception) -> None:
        """A scan that could not even be carried out counts as one that did not end; all begins anew."""
        self.tally.scans += 1
        self.tally.not_ended += 1
        self.tally.problems.append(f"scan {self.tally.scans} {kinds}: {error}")
        self.rig.begin_anew()

    def _count(self, fresh: list[Path], offset: int, kinds: list[str], *, killed: bool, ended: bool) -> None:
        total = self.tally
        total.scans += 1
        total.not_ended += not ended
        time.sleep(0.02)
        exposed = tally(read_log(self.rig.log, offset)[0])
        recorded: set[tuple[int, int]] = set()
        for path in fresh:
            try:
                with RecordingReader(path) as read:
                    read.verify()
                    total.endings[read.reason] += 1
                    for frame in read.frames:
                        recorded |= {(frame.frame, sample) for sample in range(frame.received)}
            except RecordingError as error:
                total.unreadable += 1
                total.problems.append(f"scan {total.scans} {kinds}: {error}")
        lacking = set(exposed) - recorded
        twice = sum(times - 1 for times in exposed.values())
        total.exposed += len(exposed)
        total.recorded += len(recorded)
        total.duplicated += twice
        total.never_exposed += len(recorded - set(exposed))
        if killed:
            total.lost_with_microscope += len(lacking)
        else:
            total.lost += len(lacking)
        if twice or (lacking and not killed) or len(fresh) != 1 or not ended:
            counts = f"{len(lacking)} lost, {twice} twice, {len(fresh)} recordings, ended {ended}"
            daemon, microscope = (" / ".join(process.lines[-6:]) for process in (self.rig.daemon, self.rig.microscope))
            said = f"the daemon said: {daemon}; the microscope said: {microscope}"
            total.problems.append(f"scan {total.scans} {kinds}: {counts}; {said}")


def _draw(random: np.random.Generator, scans: int, names: list[str]) -> list[list[str]]:
    """One or two faults a scan; every kind comes equally often, in a random order."""
    deck: list[str] = []
    drawn = []
    for _ in range(scans):
        count = 1 + int(random.random() < 0.4)
        while len(deck) < count:
            deck += [names[i] for i in random.permutation(len(names))]
        drawn.append([deck.pop(0) for _ in range(count)])
    return drawn


def _as_result(total: Tally, seed: int, took_s: float) -> dict[str, Any]:
    every = {name: total.recovery_s.get(name, []) for name in FAULTS}
    return {
        "seed": seed,
        "scans": total.scans,
        "took_s": round(took_s, 1),
        "scans_not_ended": total.not_ended,
        "recordings_unreadable": total.unreadable,
        "samples_exposed": total.exposed,
        "samples_recorded": total.recorded,
        "samples_lost": total.lost,
        "samples_lost_with_a_killed_microscope": total.lost_with_microscope,
        "samples_exposed_twice": total.duplicated,
        "samples_recorded_unexposed": total.never_exposed,
        "endings": dict(total.endings),
        "problems": total.problems,
        "slow": total.slow,
        "load_average": round(os.getloadavg()[0], 1),
        "faults": {
            name: {
                "injected": total.faults[name],
                "recovery_p50_s": round(float(np.median(times)), 3) if times else None,
                "recovery_max_s": round(max(times), 3) if times else None,
            }
            for name, times in every.items()
        },
    }


def _print(result: dict[str, Any]) -> None:
    print(f"\n{'fault':<22}{'injected':>9}{'recovery p50':>14}{'max':>9}")
    for name, row in result["faults"].items():
        p50, longest = row["recovery_p50_s"], row["recovery_max_s"]
        shown = f"{p50:>12.2f} s{longest:>7.2f} s" if p50 is not None else f"{'—':>14}{'—':>9}"
        print(f"{name:<22}{row['injected']:>9}{shown}")
    for key in (
        "scans",
        "samples_exposed",
        "samples_recorded",
        "samples_lost",
        "samples_exposed_twice",
        "samples_recorded_unexposed",
        "samples_lost_with_a_killed_microscope",
        "recordings_unreadable",
        "scans_not_ended",
        "load_average",
    ):
        print(f"{key.replace('_', ' '):<42}{result[key]:>12}")
    for slow in result["slow"]:
        print("slow:", slow)
    for problem in result["problems"]:
        print("problem:", problem)


def run(
    scans: int = 12,
    seed: int = 1,
    *,
    restorer: bool = True,
    limit_s: float = 1200.0,
    keep: Path | None = None,
    kinds: list[str] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Damage ``scans`` acquisitions and count; ends early, saying so by the count, after ``limit_s``.

    ``save`` gets the figures so far after every tenth scan, and at the end.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    chaos = None
    try:
        with ExitStack() as stack:
            chaos = Chaos(folder, seed, stack, restorer=restorer)
            names = [name for name in FAULTS if restorer or not name.startswith("restorer")]
            drawn = [[kind] for kind in kinds] if kinds else _draw(chaos.random, scans, names)
            for number, faults in enumerate(drawn):
                if time.monotonic() - began > limit_s:
                    break
                try:
                    chaos.scan(faults)
                except (RuntimeError, OSError) as error:
                    chaos.give_up(faults, error)
                if number % 10 == 9:
                    sys.stdout.write(f"{number + 1} scans, {time.monotonic() - began:.0f} s\n")
                    sys.stdout.flush()
                    save(_as_result(chaos.tally, seed, time.monotonic() - began))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    result = _as_result(chaos.tally, seed, time.monotonic() - began)
    _print(result)
    save(result)
    return result


def orders(rounds: int, seed: int) -> dict[str, Any]:
    """The second table: orders given at the worst moments, see :mod:`benchmarks.chaos.orders`."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-orders-"))
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            rig = Rig(folder, np.random.default_rng(seed), stack, restorer=False)
            rows = run_orders(rig, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'order':<56}{'given':>6}{'confirmed max':>15}{'exposed after':>15}{'second starts':>15}")
    for row in rows:
        latest = "—" if row["confirmed_max_s"] is None else f"{row['confirmed_max_s']:.2f} s"
        print(f"{row['order']:<56}{row['given']:>6}{latest:>15}{row['exposed_after']:>15}{row['second_starts']:>15}")
        for problem in row["problems"]:
            print("problem:", problem)
    return {
        "took_s": round(time.monotonic() - began, 1),
        "seed": seed,
        "exposed_after": sum(row["exposed_after"] for row in rows),
        "second_starts": sum(row["second_starts"] for row in rows),
        "not_confirmed": sum(row["not_confirmed"] + len(row["problems"]) for row in rows),
        "rows": rows,
    }


def lies() -> dict[str, Any]:
    """The third table: instruments and peers that lie, see :mod:`benchmarks.chaos.lies`."""
    began = time.monotonic()
    rows = run_lies()
    print(f"\n{'lie':<58}{'confirmed':>10}{'exposed after':>15}{'twice':>8}{'second starts':>15}{'limits passed':>15}")
    for row in rows:
        if row["told"]:
            print(
                f"{row['lie']:<58}{row['confirmed_s']:>8.2f} s{row['exposed_after']:>15}{row['exposed_twice']:>8}"
                f"{row['second_starts']:>15}{row['limits_passed']:>15}"
            )
        for problem in row["problems"]:
            print(f"problem: {row['lie']}: {problem}")
    sums = {
        key: sum(row.get(key, 0) for row in rows)
        for key in ("told", "exposed_after", "exposed_twice", "second_starts", "limits_passed")
    }
    not_confirmed = sum(len(row["problems"]) for row in rows)
    return {"took_s": round(time.monotonic() - began, 1), **sums, "not_confirmed": not_confirmed, "rows": rows}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--scans", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=7200.0, help="begin no scan after this time")
    parser.add_argument("--no-restorer", action="store_true")
    parser.add_argument("--kinds", help="these faults, one scan each, instead of drawn ones; separated by commas")
    parser.add_argument("--orders", type=int, default=0, metavar="N", help="first give every order N times")
    parser.add_argument("--lies", action="store_true", help="then have instruments and peers lie, each once")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/chaos.json")
    parser.add_argument("--keep", type=Path, help="leave exposure log and configuration in this folder")
    given = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}

    def save(figures: dict[str, Any]) -> None:
        figures = {**figures, "orders": told, "lies": lied}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"benchmark": "chaos", "machine": machine, "figures": figures}
        given.json.write_text(json.dumps(content, indent=2) + "\n")

    told = orders(given.orders, given.seed) if given.orders else {}
    lied = lies() if given.lies else {}
    result = run(
        given.scans,
        given.seed,
        restorer=not given.no_restorer,
        limit_s=given.limit_s,
        keep=given.keep,
        kinds=given.kinds.split(",") if given.kinds else None,
        save=save,
    )
    bad = (
        "samples_lost",
        "samples_exposed_twice",
        "samples_recorded_unexposed",
        "recordings_unreadable",
        "scans_not_ended",
    )
    never = ("exposed_after", "exposed_twice", "second_starts", "not_confirmed", "limits_passed")
    broken = any(table.get(key) for table in (told, lied) for key in never)
    return int(broken or any(result[key] for key in bad))
