"""``scancontrol ledger``: what a specimen has been given: sums, places, and the map as a figure."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from scancontrol.dose.ledger import DoseLedger, read_ledger
from scancontrol.dose.ledger.state import LedgerState
from scancontrol.errors import InvalidInput

__all__ = ["add_parser", "run"]

_PLACES_SHOWN = 20


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("ledger", help="the dose that a specimen has had", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of one specimen, such as runs/ledger/grid-17")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the dose map as an image")
    parser.add_argument("--json", action="store_true", help="the sums as JSON, on one line")
    parser.add_argument("--new-session", action="store_true", help="begin the session's sum at 0; the map stays")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0."""
    folder: Path = arguments.folder
    state = read_ledger(folder)
    if arguments.new_session:
        ledger = DoseLedger(folder.resolve().parent, folder.resolve().name)
        ledger.new_session()
        ledger.close()
        state = read_ledger(folder)
    if arguments.json:
        print(json.dumps(_facts(state)))
    else:
        _print(state)
    if arguments.plot is not None:
        from scancontrol.figures.ledger import save_ledger_figure

        try:
            save_ledger_figure(state, arguments.plot)
        except (OSError, ValueError) as error:
            problem = f"cannot be written ({error})"
            raise InvalidInput("--plot", arguments.plot, problem, "name an image file") from error
        if not arguments.json:
            print(f"map         {arguments.plot}")
    return 0


def _facts(state: LedgerState) -> dict[str, Any]:
    return {
        "specimen": state.specimen,
        "session": state.session,
        "frames": state.frames,
        "electrons": state.electrons,
        "session_electrons": state.session_electrons,
        "assumed_electrons": state.assumed_electrons,
        "open_scans": len(state.asked),
        "worst_e_per_a2": state.area.worst_e_per_a2(),
        "places": len(state.places),
    }


def _print(state: LedgerState) -> None:
    facts = _facts(state)
    print(f"specimen    {state.specimen}, {facts['frames']} frames at {facts['places']} places")
    print(f"ever        {state.electrons:.6g} electrons; the most exposed cell has {facts['worst_e_per_a2']:.4g} e/Å²")
    print(f"session     {state.session_electrons:.6g} electrons since {state.session}")
    if state.assumed_electrons:
        print(f"assumed     {state.assumed_electrons:.6g} electrons of scans whose end nobody heard, counted in full")
    if state.asked:
        print(f"open        {len(state.asked)} scans asked for and not accounted for yet")
    places = sorted(state.places.values(), key=lambda place: -place.last_utc_ns)
    if places:
        print(f"\n{'y (µm)':>12}{'x (µm)':>12}{'field (nm)':>12}{'frames':>8}{'electrons':>13}  last scanned (UTC)")
    for place in places[:_PLACES_SHOWN]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(place.last_utc_ns / 1e9))
        print(
            f"{place.stage_nm[0] / 1e3:>12.4g}{place.stage_nm[1] / 1e3:>12.4g}{place.fov_nm:>12.4g}"
            f"{place.frames:>8}{place.electrons:>13.5g}  {when}"
        )
    if len(places) > _PLACES_SHOWN:
        print(f"{'and':>12} {len(places) - _PLACES_SHOWN} more")
