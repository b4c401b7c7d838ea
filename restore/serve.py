"""The restorer's process: ``python -m restore.serve``. Loads, says so, then serves until it is told to end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from restore.engine import Engine
from restore.estimate.lattice.following import CRYSTAL_SEARCHES
from restore.generator.resident import PRECISIONS
from restore.loading import load_restorer, pick_device
from restore.process.memory import keep_freed_memory
from restore.process.server import RestorerServer
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, announce
from scancontrol.transport.keys import ServerSecurity

__all__ = ["main"]

_SWITCH_S = 0.0005  # ten times oftener than usual: who owns the socket must not wait for who computes


def _spare_cores() -> int:
    """All cores but one, which the acquisition needs: a thread that must wait for a core holds up all the others."""
    return min(8, max(1, len(os.sched_getaffinity(0)) - 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.serve", description=__doc__)
    parser.add_argument("--address", default="tcp://127.0.0.1:0", help="where to listen; port 0 takes a free one")
    parser.add_argument("--method", "--fill", default="auto", help="auto, generator, or the name of a classical fill")
    parser.add_argument("--weights", type=Path, help="weights of the generator, in place of those that ship")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument(
        "--memory",
        type=int,
        default=1,
        metavar="K",
        help="frames that a picture is made from at most, older ones moved",
    )
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    parser.add_argument("--secret-key", type=Path, help="this server's CURVE secret key file")
    parser.add_argument("--allow", type=Path, help="folder of the public keys of clients to let in")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the generator; single gives the same frame on every machine, auto is the fastest here",
    )
    parser.add_argument(
        "--crystals",
        choices=CRYSTAL_SEARCHES,
        default="beside",
        help="when the generator looks for a lattice: while frames go on, before the first, in each, or not",
    )
    parser.add_argument("--follow-stdin", action="store_true", help="end when standard input ends")
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
        if (options.secret_key is None) != (options.allow is None):
            raise InvalidInput("keys", "one of two", "is half of what CURVE needs", "give --secret-key and --allow")
        security = None if options.secret_key is None else ServerSecurity(options.secret_key, options.allow)
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
