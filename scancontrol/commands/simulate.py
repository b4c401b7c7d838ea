"""``scancontrol simulate``: host a simulated microscope, in a process of its own, until Ctrl-C."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.files import config_file
from scancontrol.processes.child import Shutdown
from scancontrol.processes.parent import ChildProcess
from scancontrol.transport.options import add_server_keys

__all__ = ["add_parser", "run"]

START_TIMEOUT_S = 60.0


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("simulate", help="host a simulated microscope", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML (default: the shipped simulator.yaml)")
    parser.add_argument(
        "--address", default="tcp://127.0.0.1:0", help="where to listen (default: any free port of loopback)"
    )
    parser.add_argument(
        "--protocol",
        choices=("scancontrol", "obi"),
        default="scancontrol",
        help="obi: the device's server of the Open Beam Interface, for 'scancontrol drive' or any OBI client",
    )
    parser.add_argument("--loopback", action="store_true", help="with obi: return each pixel's x code, not a signal")
    parser.add_argument("--specimen", type=Path, metavar="IMAGE", help="a grayscale TIFF, PNG, WebP or NPY micrograph")
    parser.add_argument("--fast", action="store_true", help="as fast as it goes, instead of in real time")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="a schedule of faults to inject")
    parser.add_argument("--truth", type=Path, metavar="FILE.npz", help="write the ground truth here")
    add_server_keys(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until asked to end; the simulator's exit code if it ends by itself."""
    shutdown = Shutdown()
    with ExitStack() as stack:
        if args.protocol == "obi":
            microscope = ChildProcess("OBI device", "simulators.obi.server", _obi_arguments(args))
        else:
            microscope = ChildProcess("microscope", "simulators", _arguments(args))
        stack.callback(microscope.stop, 1.0)
        facts = microscope.wait_ready(START_TIMEOUT_S)
        name = facts.get("name", "Open Beam Interface")
        print(f"microscope  {facts['address']}  {name}, process {microscope.pid}; Ctrl-C ends it", flush=True)
        while microscope.poll() is None:
            if shutdown.wait(0.1):
                return 0
        return microscope.poll() or 0


def _obi_arguments(args: argparse.Namespace) -> list[str]:
    """The OBI server's own; what it has no use for is refused rather than passed over."""
    for option in ("specimen", "faults", "truth", "secret_key", "clients"):
        if getattr(args, option) is not None:
            name = f"--{option.replace('_', '-')}"
            raise InvalidInput(name, getattr(args, option), "means nothing to an OBI device", "leave it out")
    given = ["--address", args.address] + ["--loopback"] * args.loopback + ["--fast"] * args.fast
    return given + (["--config", str(args.config)] if args.config is not None else [])


def _arguments(args: argparse.Namespace) -> list[str]:
    if args.loopback:
        raise InvalidInput("--loopback", "given", "belongs to the OBI device", "add --protocol obi")
    given = ["--config", str(args.config or config_file("simulator.yaml")), "--address", args.address]
    for option, value in (
        ("--specimen", args.specimen),
        ("--faults", args.faults),
        ("--truth", args.truth),
        ("--secret-key", args.secret_key),
        ("--clients", args.clients),
    ):
        if value is not None:
            given += [option, str(value)]
    if args.truth is not None:
        given += ["--truth-moves", "2"]
    return given + ["--fast"] * args.fast
