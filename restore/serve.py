"""The restorer's process: ``python -m restore.serve``. Loads, says so, then serves until it is told to end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import msgspec
import torch
import zmq

from restore.engine import Engine
from restore.estimate.lattice.following import CRYSTAL_SEARCHES
from restore.loading import add_restorer_options, load_restorer, pick_device
from restore.process.answering import Answering, OwnEngine
from restore.process.conversation import BACKLOG
from restore.process.memory import keep_freed_memory
from restore.process.of_device import RestorerOfDevice
from restore.process.server import RestorerServer
from restore.restorer import Restorer
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.transport.options import add_server_keys, server_security
from scancontrol.wire import restoring as wire
from scancontrol.wire.messages import software

__all__ = ["main"]

_SWITCH_S = 0.0005  # ten times oftener than usual: who owns the socket must not wait for who computes


def _spare_cores() -> int:
    """All cores but one, which the acquisition needs: a thread that must wait for a core holds up all the others."""
    return min(8, max(1, len(os.sched_getaffinity(0)) - 1))


def _welcome(restorer: Restorer, device: torch.device) -> wire.Welcome:
    return wire.Welcome(
        version=wire.VERSION,
        software=software(),
        method=restorer.name,
        device=str(device),
        weights_hash=restorer.weights_hash,
        backlog=BACKLOG,
    )


def _restorers(options: argparse.Namespace, threads: int) -> tuple[list[Answering], wire.Welcome]:
    """Who restores, and who they are together: this process, or one of its own for each of several devices.

    Raises:
        ScanControlError: a device, a method or weights cannot be used.
    """
    devices = options.device.split(",")
    if len(devices) == 1:
        device = pick_device(options.device)
        restorer = load_restorer(
            options.method, options.weights, device, options.precision, options.crystals, options.together
        )
        engine = Engine(restorer, device, memory=options.memory)
        return [OwnEngine(engine)], _welcome(restorer, device)
    told = ["--method", options.method, "--memory", str(options.memory), "--precision", options.precision]
    told += ["--crystals", options.crystals, "--threads", str(max(1, threads // len(devices)))]
    if options.together is not None:
        told += ["--together", str(options.together)]
    if options.weights is not None:
        told += ["--weights", str(options.weights)]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    found: list[RestorerOfDevice] = []
    try:
        for device_name in devices:
            found.append(RestorerOfDevice(context, [*told, "--device", device_name]))
    except ScanControlError:
        for one in found:
            one.close()
        raise
    first = found[0].welcome
    together = ",".join(one.welcome.device for one in found)
    return list(found), msgspec.structs.replace(first, device=together)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.serve", description=__doc__)
    parser.add_argument("--address", default="tcp://127.0.0.1:0", help="where to listen; port 0 takes a free one")
    add_restorer_options(parser)
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    parser.add_argument(
        "--together",
        type=int,
        metavar="N",
        help="frames of a size that are restored at once where they wait (default: 16 on a GPU, 1 on a processor)",
    )
    add_server_keys(parser)
    parser.add_argument(
        "--crystals",
        choices=CRYSTAL_SEARCHES,
        default="beside",
        help="when the generator looks for a lattice: while frames go on, before the first, in each, or not",
    )
    add_follow_stdin(parser)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    shutdown = Shutdown(follow_stdin=options.follow_stdin)
    try:
        logs.configure("restorer", verbose=options.verbose)
        threads = _spare_cores() if options.threads is None else options.threads
        if not 1 <= threads <= 1024:
            raise InvalidInput("threads", threads, "is outside 1 to 1024", "give the cores to use")
        torch.set_num_threads(threads)
        keep_freed_memory()
        sys.setswitchinterval(_SWITCH_S)
        security = server_security(options.secret_key, options.clients)
        restorers, welcome = _restorers(options, threads)
        server = RestorerServer(restorers, welcome, options.address, security)
    except ScanControlError as error:
        sys.stderr.write(f"restorer: {error}\n")
        return 2
    announce(
        "restorer",
        address=server.address,
        method=welcome.method,
        device=welcome.device,
        weights_hash=welcome.weights_hash,
        processes=[one.pid for one in restorers if isinstance(one, RestorerOfDevice)],
    )
    if not server.run(shutdown.requested):
        os._exit(0)  # a frame of many seconds is being computed for nobody; it ends with the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
