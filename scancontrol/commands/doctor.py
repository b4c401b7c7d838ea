"""``scancontrol doctor``: checks everything that a scan will need, and says what to do about what is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scancontrol.daemon.config import DaemonConfig
from scancontrol.daemon.health import checks
from scancontrol.daemon.health.checks import Finding
from scancontrol.dose.ledger import DoseLedger
from scancontrol.errors import ScanControlError
from scancontrol.files import load_yaml
from scancontrol.plan.plan import load_plan
from scancontrol.restorer import restorer_arguments
from scancontrol.transport.keys import ClientSecurity

__all__ = ["add_parser", "run"]

_MARK = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("doctor", help="check what a scan will need", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's configuration")
    parser.add_argument("--microscope", metavar="ADDRESS", help="its control address, in place of the configured one")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder of the recordings")
    parser.add_argument("--no-restorer", action="store_true", help="leave torch, GPU and weights out")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 if nothing is wrong, 1 otherwise."""
    wrong = 0
    for finding in _examine(arguments):
        wrong += finding.level == "wrong"
        print(f"{_MARK[finding.level]} {finding.check:<12} {finding.found}", flush=True)
        if finding.remedy and finding.level != "ok":
            print(f"{'':<19}→ {finding.remedy}", flush=True)
    print("all is well" if not wrong else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong", flush=True)
    return 1 if wrong else 0


def _examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    base = Path() if arguments.config is None else arguments.config.parent
    config = None
    if arguments.config is not None:
        try:
            config = load_yaml(arguments.config, DaemonConfig)
            yield Finding("configuration", "ok", str(arguments.config))
        except ScanControlError as error:
            yield Finding("configuration", "wrong", str(error), "mend the file; the checks go on without it")
    if config is not None:
        for file in config.plans:
            try:
                yield Finding("plan", "ok", load_plan(base / file).name)
            except ScanControlError as error:
                yield Finding("plan", "wrong", str(error), f"mend {file}")
        if config.page.enabled:
            yield checks.port("page port", config.page.port, config.page.host)
        yield checks.port("status port", config.status_port)
    output = arguments.out or (base / config.output if config is not None else Path("runs"))
    yield from checks.disk(output)
    yield checks.clock()
    if config is not None:
        folder = output / "ledger" if config.ledger is None else base / config.ledger
        specimen = config.specimen
        yield checks.ledger(lambda: DoseLedger(folder, specimen.id, specimen.limits).close())
    address = arguments.microscope or (config.microscope if config is not None else None)
    if address is None:
        yield Finding("microscope", "note", "none is named", "give --microscope ADDRESS or --config FILE")
    else:
        security = None
        if config is not None and config.keys is not None:
            security = ClientSecurity(base / config.keys.secret_key, base / config.keys.microscope_key)
        allowed = checks.keys(address, security)
        yield allowed
        if allowed.level == "ok":
            yield from checks.microscope(address, security)
    if not arguments.no_restorer and (config is None or config.restorer.enabled):
        told = config.restorer if config is not None else None
        weights = None if told is None or told.weights is None else base / told.weights
        yield from checks.restorer(
            restorer_arguments(
                method="auto" if told is None else told.method,
                weights=weights,
                device="auto" if told is None else told.device,
            )
        )
