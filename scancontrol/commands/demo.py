"""``scancontrol demo``: a simulated microscope, a restorer and the daemon, as separate processes on free ports."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from scancontrol.daemon.dry_run import write_report
from scancontrol.errors import InvalidInput
from scancontrol.files import config_file
from scancontrol.plan.plan import load_plan
from scancontrol.processes.child import Shutdown
from scancontrol.processes.parent import ChildProcess

__all__ = ["add_parser", "run"]

START_TIMEOUT_S = 60.0
TRUTH_NAME = "truth.npz"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "demo", help="watch a simulated microscope being scanned and restored live", description=__doc__
    )
    parser.add_argument("--frames", type=int, metavar="N", help="end after N frames (default: go on until Ctrl-C)")
    parser.add_argument("--idle", action="store_true", help="start nothing: the page, a script or a terminal does")
    parser.add_argument("--headless", action="store_true", help="no page; needs --frames")
    parser.add_argument("--out", type=Path, metavar="DIR", help="recording, report.json and summary.png go here")
    parser.add_argument("--specimen", type=Path, metavar="IMAGE", help="a grayscale TIFF, PNG, WebP or NPY micrograph")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="the scan plan (default: the shipped spiral at 1/20)")
    parser.add_argument("--simulator", type=Path, metavar="FILE", help="the simulator's configuration")
    parser.add_argument("--method", default="auto", help="what restores: auto, lite, or the name of a classical fill")
    parser.add_argument(
        "--memory", type=int, default=4, metavar="K", help="frames that a picture is made from at most (default: 4)"
    )
    parser.add_argument(
        "--compensate-drift", action="store_true", help="move each frame's region with the drift that is foretold"
    )
    parser.add_argument("--port", type=int, default=0, help="port of the page (default: any free one)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when it was ended on purpose, also by Ctrl-C."""
    _check(arguments)
    plan_file = arguments.plan or config_file("demo.yaml")
    plan = load_plan(plan_file)
    out = _output_folder(arguments.out)
    shutdown = Shutdown(ends_with_terminal=True)
    with ExitStack() as stack:
        # Ended in reverse order: first the daemon, which blanks the beam, then the microscope.
        microscope = ChildProcess("microscope", "simulators", _simulator_arguments(arguments, plan.shape, out))
        stack.callback(microscope.stop, 0.5)
        facts = microscope.wait_ready(START_TIMEOUT_S)
        print(f"microscope  {facts['address']}  simulated, process {microscope.pid}", flush=True)
        told = _daemon_arguments(arguments, str(facts["address"]), plan_file, out)
        daemon = ChildProcess("daemon", "scancontrol", told, pass_output=True)
        stack.callback(daemon.stop, 1.3)
        code = None
        while code is None and not shutdown.requested():
            code = daemon.wait(0.1)
        if code is None:
            print("\nending: beam blanked, processes down", flush=True)
    if code not in (0, None):
        return code if code > 0 else 2
    if arguments.frames is not None and code == 0:
        report = write_report(out, out / TRUTH_NAME)
        if report.rmse_pct:
            print(f"error       {_in_short(report.rmse_pct)} % RMSE, each frame against its own truth", flush=True)
        print(f"report      {report.json_path}\nsummary     {report.figure_path}", flush=True)
    return 0


def _in_short(errors: tuple[float, ...], shown: int = 12) -> str:
    """All of them, or the first and the last where they are many."""
    written = [f"{error:.2f}" for error in errors]
    return " ".join(written if len(written) <= shown else [*written[: shown - 2], "…", *written[-2:]])


def _check(arguments: argparse.Namespace) -> None:
    if arguments.frames is not None and not 1 <= arguments.frames <= 1_000_000:
        raise InvalidInput("--frames", arguments.frames, "is outside 1 to 1000000", "give how many frames to take")
    if arguments.idle and (arguments.frames is not None or arguments.headless):
        raise InvalidInput("--idle", "with --frames or --headless", "waits for nobody", "leave one of them out")
    if arguments.headless and arguments.frames is None:
        raise InvalidInput("--headless", "without --frames", "would run unseen without end", "add --frames N")


def _output_folder(wanted: Path | None) -> Path:
    """A folder that can be written to; a temporary-looking one under ``runs`` unless one is asked for."""
    folder = wanted or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInput(
            "output folder", folder, f"cannot be written to ({error.strerror})", "give --out DIR a writable folder"
        ) from error
    return folder


def _simulator_arguments(arguments: argparse.Namespace, shape: tuple[int, int], out: Path) -> list[str]:
    given = [
        "--config",
        str(arguments.simulator or config_file("simulator.yaml")),
        "--address",
        "tcp://127.0.0.1:0",
        "--truth",
        str(out / TRUTH_NAME),
        "--truth-shape",
        str(shape[0]),
        str(shape[1]),
        "--truth-moves",
        "0" if arguments.frames is not None else "2",  # the report wants them all; without end the disk would fill
    ]
    return given + (["--specimen", str(arguments.specimen)] if arguments.specimen else [])


def _daemon_arguments(arguments: argparse.Namespace, address: str, plan_file: Path, out: Path) -> list[str]:
    given = [
        "daemon",
        "--microscope",
        address,
        "--plan",
        str(plan_file),
        "--out",
        str(out),
        "--method",
        arguments.method,
        "--memory",
        str(arguments.memory),
        "--operator",
        "demo",
        "--page-port",
        str(arguments.port),
        "--truth",
        str(out / TRUTH_NAME),
    ]
    if arguments.compensate_drift:
        given.append("--compensate-drift")
    if arguments.idle:
        return given
    if arguments.frames is not None:
        given += ["--start", "--frames", str(arguments.frames)]
    else:
        given += ["--start", "--repeat", "--keep-last", "2", "--store", "last"]
    return given + (["--no-page"] if arguments.headless else [])
