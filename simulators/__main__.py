"""The process that hosts a simulated microscope: ``python -m simulators --config FILE``.

Prints one line of JSON when it is ready, ends on SIGINT, SIGTERM or (with ``--follow-stdin``) with its parent. Exit
code 2 after one message for anything that cannot be.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.files import load_yaml
from scancontrol.microscope.host import serve
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.options import add_server_keys, server_security
from scancontrol.wire import messages
from simulators.config import SimulatorConfig
from simulators.faults import Fault, FaultPlan, LinkFaults
from simulators.microscope import SimulatedMicroscope
from simulators.side_files.exposure_log import ExposureLog
from simulators.side_files.tracked_truth import TrackedTruth
from simulators.side_files.truth import TruthFile
from simulators.specimens.library import Micrograph

__all__ = ["main"]

_CRASHED = 70


class _Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of faults alone, for ``--faults``."""

    faults: tuple[Fault, ...]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML; see config/simulator.yaml (all defaults without)")
    parser.add_argument(
        "--address", default="tcp://127.0.0.1:0", help="of the control socket (a free port of loopback)"
    )
    parser.add_argument(
        "--specimen",
        type=Path,
        metavar="IMAGE",
        help="a TIFF, PNG, WebP or NPY micrograph instead of the configured specimen",
    )
    parser.add_argument("--fast", action="store_true", help="as fast as it goes, instead of the configured pace")
    parser.add_argument("--seed", type=int, help="instead of the configured one")
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="a YAML schedule of faults, beside the configured ones"
    )
    parser.add_argument("--no-faults", action="store_true", help="leave the configured faults out")
    parser.add_argument("--truth", type=Path, metavar="FILE.npz", help="write the first frame's ground truth here")
    parser.add_argument("--truth-every", type=int, default=0, metavar="N", help="and that of every N-th frame after it")
    parser.add_argument(
        "--truth-moves",
        type=int,
        metavar="K",
        help="instead, state how each frame has moved beside a wide picture; of later ones K are kept (0: all)",
    )
    parser.add_argument(
        "--truth-shape", type=int, nargs=2, metavar=("ROWS", "COLS"), help="its pixels (those of the scan)"
    )
    parser.add_argument(
        "--exposure-log", type=Path, metavar="FILE", help="note every stretch of samples that is exposed here"
    )
    add_server_keys(parser)
    add_follow_stdin(parser)
    return parser


def _configured(arguments: argparse.Namespace) -> SimulatorConfig:
    config = load_yaml(arguments.config, SimulatorConfig) if arguments.config else SimulatorConfig()
    if arguments.specimen is not None:
        config = msgspec.structs.replace(config, specimen=Micrograph(file=arguments.specimen))
    if arguments.fast:
        config = msgspec.structs.replace(config, pace="fast")
    if arguments.seed is not None:
        config = msgspec.structs.replace(config, seed=arguments.seed)
    if arguments.no_faults:
        config = msgspec.structs.replace(config, faults=())
    if arguments.faults is not None:
        config = msgspec.structs.replace(config, faults=config.faults + load_yaml(arguments.faults, _Schedule).faults)
    return config


def _run(arguments: argparse.Namespace) -> None:
    config = _configured(arguments)
    if arguments.truth_every < 0:
        raise InvalidInput("truth-every", arguments.truth_every, "is below 0", "give a number of frames")
    shape = None
    if arguments.truth_shape is not None:
        shape = (arguments.truth_shape[0], arguments.truth_shape[1])
        if not all(1 <= side <= 16384 for side in shape):
            raise InvalidInput("truth-shape", shape, "is outside 1 to 16384 a side", "give rows and columns")
    truth: TruthFile | None = None
    if arguments.truth and arguments.truth_moves is not None:
        truth = TrackedTruth(arguments.truth, shape, max(0, arguments.truth_moves))
    elif arguments.truth:
        truth = TruthFile(arguments.truth, arguments.truth_every, shape)
    security = server_security(arguments.secret_key, arguments.clients)
    check_address(arguments.address, security)
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    bound: list[str] = []

    def crash(fault: Fault) -> None:
        """Go down without a word, as a crash does; perhaps come back at the same address."""
        if fault.restart_after_s is None:
            os._exit(_CRASHED)
        _restart(arguments, bound[0], fault.restart_after_s)

    def ready(address: str) -> None:
        bound.append(address)
        announce("microscope", address=address, name=config.name)

    if any(fault.kind == "version_mismatch" for fault in config.faults):
        messages.PROTOCOL_VERSION += 1  # this process now is of another release
    plan = FaultPlan(config.faults)
    log = ExposureLog(arguments.exposure_log) if arguments.exposure_log else None
    microscope = SimulatedMicroscope(config, truth=truth, log=log, plan=plan, crash=crash)
    serve(
        microscope,
        arguments.address,
        shutdown=shutdown.requested,
        on_ready=ready,
        security=security,
        transport_faults=LinkFaults(plan) if config.faults else None,
    )


def _restart(arguments: argparse.Namespace, address: str, after_s: float) -> None:
    """Replace this process by a fresh one at the same address. All sockets close with the old one."""
    command = [sys.executable, "-m", "simulators", "--address", address, "--no-faults"]
    if arguments.config:
        command += ["--config", str(arguments.config)]
    if arguments.specimen:
        command += ["--specimen", str(arguments.specimen)]
    if arguments.seed is not None:
        command += ["--seed", str(arguments.seed)]
    if arguments.secret_key:
        command += ["--secret-key", str(arguments.secret_key), "--clients", str(arguments.clients)]
    if arguments.exposure_log:
        command += ["--exposure-log", str(arguments.exposure_log)]
    command += ["--fast"] * arguments.fast + ["--follow-stdin"] * arguments.follow_stdin
    os.execv(  # noqa: S606 - this very program
        sys.executable,
        [sys.executable, "-c", f"import os, time; time.sleep({after_s!r}); os.execv({sys.executable!r}, {command!r})"],
    )


def main() -> int:
    """Run the process; returns its exit code."""
    try:
        logs.configure("microscope", verbose=False)
        _run(_parser().parse_args())
    except ScanControlError as error:
        sys.stderr.write(f"simulators: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
