"""The restorer's process: ``python -m restore.serve``. Loads, says so, then serves until it is told to end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import torch

from restore.engine import Engine
from restore.estimate.lattice.following import CRYSTAL_SEARCHES
from restore.loading import add_restorer_options, load_restorer, pick_device
from restore.process.memory import keep_freed_memory
from restore.process.server import RestorerServer
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.transport.options import add_server_keys, server_security

__all__ = ["main"]

_SWITCH_S = 0.0005  # ten times oftener than usual: who owns the socket must not wait for who computes


def _spare_cores() -> int:
    """All cores but one, which the acquisition needs: a thread that must wait for a core holds up all the others."""
    return min(8, max(1, len(os.sched_getaffinity(0)) - 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.serve", description=__doc__)
    parser.add_argument("--address", default="tcp://127.0.0.1:0", help="where to listen; port 0 takes a free one")
    add_restorer_options(parser)
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
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
        device = pick_device(options.device)
        restorer = load_restorer(options.method, options.weights, device, options.precision, options.crystals)
        server = RestorerServer(Engine(restorer, device, memory=options.memory), options.address, security)
    except ScanControlError as error:
        sys.stderr.write(f"restorer: {error}\n")
        return 2
    announce(
        "restorer", address=server.address, method=restorer.name, device=str(device), weights_hash=restorer.weights_hash
    )
    if not server.run(shutdown.requested):
        os._exit(0)  # a frame of many seconds is being computed for nobody; it ends with the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
