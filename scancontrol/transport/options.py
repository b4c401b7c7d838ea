"""The command-line options by which a server is given its CURVE keys, the same for every server of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from scancontrol.errors import InvalidInput
from scancontrol.transport.keys import ServerSecurity

__all__ = ["add_server_keys", "server_security"]


def add_server_keys(parser: argparse.ArgumentParser) -> None:
    """Add ``--secret-key`` and ``--clients``."""
    parser.add_argument("--secret-key", type=Path, metavar="FILE", help="CURVE secret key; needed off loopback")
    parser.add_argument("--clients", type=Path, metavar="DIR", help="public keys of the clients that may connect")


def server_security(
    secret_key: Path | None, clients: Path | None, names: str = "--secret-key and --clients"
) -> ServerSecurity | None:
    """The keys that both files give, checked; None where neither is given. ``names`` is what a person calls them.

    Raises:
        InvalidInput: one is missing, or cannot be used.
    """
    if secret_key is None and clients is None:
        return None
    if secret_key is None or clients is None:
        raise InvalidInput(names, "only one of them", "is not enough", "give both; scancontrol keys makes them")
    security = ServerSecurity(secret_key, clients)
    security.check()
    return security
