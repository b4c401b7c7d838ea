"""``scancontrol daemon``: the acquisition daemon beside a microscope."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from scancontrol.daemon.config import DaemonConfig
from scancontrol.daemon.service import Daemon, Launch
from scancontrol.errors import InvalidInput
from scancontrol.files import load_yaml
from scancontrol.processes.child import Shutdown, add_follow_stdin

__all__ = ["add_parser", "configuration", "run"]

_SWITCH_S = 0.0005  # ten times oftener than usual: samples and heartbeats must not wait while a thread draws


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "daemon", help="plan, drive, record, restore and show, beside a microscope", description=__doc__
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="see config/daemon.yaml; options below override it")
    parser.add_argument("--microscope", metavar="ADDRESS", help="the microscope's control address")
    parser.add_argument("--plan", type=Path, action="append", metavar="FILE", help="a plan to offer; may be repeated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the recordings")
    parser.add_argument("--operator", metavar="NAME", help="whose lease it is")
    parser.add_argument("--project", metavar="TEXT", help="what the recordings say they are for")
    parser.add_argument("--notes", metavar="TEXT", help="what else the recordings say of themselves")
    parser.add_argument("--method", metavar="NAME", help="what restores: auto, lite, or the name of a classical fill")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of the generator: a file, or the name of some that ship"
    )
    parser.add_argument("--memory", type=int, metavar="K", help="frames that a picture is made from at most")
    parser.add_argument(
        "--compensate-drift", action="store_true", help="move each frame's region with the drift that is foretold"
    )
    parser.add_argument("--page-port", type=int, metavar="PORT", help="port of the page; 0 takes any free one")
    parser.add_argument("--no-page", action="store_true", help="serve no page")
    parser.add_argument("--no-restorer", action="store_true", help="record only")
    parser.add_argument("--start", action="store_true", help="start the first plan at once")
    parser.add_argument("--frames", type=int, metavar="N", help="with --start: take N frames and end")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on with this recording, which was cut off")
    parser.add_argument(
        "--on-interrupted",
        choices=("resume", "end"),
        help="the newest of the recordings that were cut off: go on with it, or end it cleanly as all others",
    )
    parser.add_argument("--repeat", action="store_true", help="with --start: begin the plan again when it has ended")
    parser.add_argument("--keep-last", type=int, metavar="N", help="keep only the last N recordings of this run")
    parser.add_argument("--store", choices=("all", "last", "none"), help="which restorations the recordings keep")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="dry runs: the simulator's truth, for the page")
    add_follow_stdin(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until asked to end, or until ``--frames`` are taken."""
    config, base = configuration(arguments)
    if not arguments.start and (arguments.frames is not None or arguments.repeat):
        raise InvalidInput("--frames and --repeat", "without --start", "have nothing to begin with", "add --start")
    launch = Launch(
        start=arguments.start,
        frames=arguments.frames,
        repeat=arguments.repeat,
        truth=arguments.truth,
        resume=arguments.resume,
    )
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    sys.setswitchinterval(_SWITCH_S)
    return Daemon(config, base, launch, shutdown).run()


def configuration(arguments: argparse.Namespace) -> tuple[DaemonConfig, Path]:
    """The file's configuration with the command line's changes, and the folder that its paths are relative to."""
    if arguments.config is not None:
        config, base = load_yaml(arguments.config, DaemonConfig), arguments.config.parent
    elif arguments.microscope is not None:
        config, base = DaemonConfig(microscope=arguments.microscope), Path()
    else:
        raise InvalidInput("microscope", "nothing", "names no microscope", "give --config FILE or --microscope ADDRESS")
    changes: dict[str, object] = {}
    if arguments.microscope is not None:
        changes["microscope"] = arguments.microscope
    if arguments.plan:
        changes["plans"] = tuple(path.resolve() for path in arguments.plan)
    if arguments.out is not None:
        changes["output"] = arguments.out.resolve()
    if arguments.operator is not None:
        changes["operator"] = arguments.operator
    if arguments.keep_last is not None:
        changes["keep_last"] = arguments.keep_last
    if arguments.store is not None:
        changes["store_restorations"] = arguments.store
    if arguments.on_interrupted is not None:
        changes["on_interrupted"] = arguments.on_interrupted
    about = {name: getattr(arguments, name) for name in ("project", "notes") if getattr(arguments, name) is not None}
    if about:
        changes["about"] = msgspec.structs.replace(config.about, **about)
    page = config.page
    if arguments.page_port is not None:
        page = msgspec.structs.replace(page, port=arguments.page_port)
    if arguments.no_page:
        page = msgspec.structs.replace(page, enabled=False)
    restorer = config.restorer
    if arguments.method is not None:
        restorer = msgspec.structs.replace(restorer, method=arguments.method)
    if arguments.weights is not None:
        restorer = msgspec.structs.replace(restorer, weights=arguments.weights.resolve())
    if arguments.memory is not None:
        restorer = msgspec.structs.replace(restorer, memory=arguments.memory)
    if arguments.no_restorer:
        restorer = msgspec.structs.replace(restorer, enabled=False)
    if arguments.compensate_drift:
        changes["compensate_drift"] = True
    return msgspec.structs.replace(config, page=page, restorer=restorer, **changes), base
