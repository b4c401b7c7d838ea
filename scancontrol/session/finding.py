"""Where a running daemon is, and with which token it is spoken to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from scancontrol.daemon.health import daemon_folder
from scancontrol.daemon.page.links import read_links
from scancontrol.errors import InvalidInput

__all__ = ["Door", "find_door"]


@dataclass(frozen=True)
class Door:
    """How to get in. ``certificate`` is the file that a daemon's own certificate is checked against."""

    scheme: Literal["http", "https"]
    authority: str  # host:port
    token: str
    certificate: Path | None = None

    @property
    def url(self) -> str:
        """Of the websocket."""
        return f"{'wss' if self.scheme == 'https' else 'ws'}://{self.authority}/live"

    @property
    def origin(self) -> str:
        """What the daemon's page would give as its own."""
        return f"{self.scheme}://{self.authority}"

    def tls(self) -> ssl.SSLContext | None:
        """What the connection is encrypted with; None on a link that is not.

        Raises:
            InvalidInput: the certificate cannot be read.
        """
        if self.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=None if self.certificate is None else str(self.certificate))
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "certificate", self.certificate, f"cannot be used ({error})", "give the daemon's own, as PEM"
            ) from error


def find_door(
    where: str | Path = "runs",
    *,
    token: str | None = None,
    role: Literal["operator", "observer"] = "operator",
    certificate: Path | None = None,
) -> Door:
    """Find a daemon by its folder of recordings (or one that such folders are in), its link, or its address and token.

    Raises:
        InvalidInput: the link is none, or has no token, or the daemon serves no page.
        LinkError: no daemon records into that folder.
    """
    link = str(where)
    if not link.startswith(("http://", "https://")):
        host, _, port = link.rpartition(":")
        if not (host and port.isdecimal() and not Path(where).is_dir()):
            link = read_links(daemon_folder(Path(where)))[role]
        else:
            link = f"http://{link}"
    parts = urlsplit(link)
    token = token or parts.fragment.removeprefix("token=")
    if not token:
        raise InvalidInput("link", f"{parts.scheme}://{parts.netloc}", "has no token", "give it whole, or give token=")
    if not parts.hostname or parts.port is None:
        raise InvalidInput("link", f"{parts.scheme}://{parts.netloc}", "names no host and port", "give the daemon's")
    return Door("https" if parts.scheme == "https" else "http", parts.netloc, token, certificate)
