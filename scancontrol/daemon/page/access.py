"""Who may reach the page, and with which headers it is served. Pure functions and one frozen policy.

The threats and what meets them:

- another program or person on the network: loopback unless TLS and a token are given (:func:`check_binding`);
- another page in the same browser: Origin must be ours, and the token is not a cookie, so a foreign page has
  nothing that the browser would send for it;
- DNS rebinding: Host must be an address we serve (:meth:`AccessPolicy.host_allowed`);
- injected markup: a content security policy without inline script or style, and nothing loaded from elsewhere;
- the token in logs and Referer: it sits in the fragment of the link, which browsers never send, and reaches the
  server as a WebSocket subprotocol.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Literal

from scancontrol.errors import InvalidInput

__all__ = ["AccessPolicy", "Role", "check_binding", "check_token", "is_loopback", "new_token", "security_headers"]

Role = Literal["operator", "observer"]

TOKEN_PREFIX = "token."  # noqa: S105 - the mark of the subprotocol that carries a token, not one
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,128}")  # 22 base64url characters are 128 bits


def new_token() -> str:
    """Return a fresh token of 256 bits, fit for a link and for a header."""
    return secrets.token_urlsafe(32)


def check_token(token: str) -> None:
    """Check a token that the page is to be opened with.

    Raises:
        InvalidInput: it is too short, or has other characters than a link carries.
    """
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            "page token",
            f"({len(token)} characters)",
            "is not 22 to 128 letters, digits, - or _",
            "leave it out to get a fresh one",
        )


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be reached from this machine. Names other than localhost are not trusted to be."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def check_binding(host: str, *, tls: bool) -> None:
    """Check that serving on ``host`` does not leave the page in the open.

    Raises:
        InvalidInput: the host is not loopback, and nothing is encrypted.
    """
    if not is_loopback(host) and not tls:
        raise InvalidInput(
            "page host",
            host,
            "is not loopback and there is no TLS",
            "give certificate and key files, or bind 127.0.0.1 and use an SSH tunnel",
        )


@dataclass(frozen=True)
class AccessPolicy:
    """The rules of one running server. ``authorities`` are the ``host:port`` under which it may be addressed."""

    scheme: Literal["http", "https"]
    authorities: frozenset[str]
    operator_token: str
    observer_token: str

    def host_allowed(self, hosts: list[str]) -> bool:
        """Whether the request's Host headers are exactly one, and name this server."""
        return len(hosts) == 1 and hosts[0].lower() in self.authorities

    def origin_allowed(self, origins: list[str]) -> bool:
        """Whether the handshake's Origin headers are exactly one, and a page of this server."""
        return len(origins) == 1 and origins[0].lower() in {f"{self.scheme}://{name}" for name in self.authorities}

    def role_of(self, subprotocols: list[str]) -> Role | None:
        """The role whose token is among the offered WebSocket subprotocols, compared in constant time."""
        role: Role | None = None
        for offered in subprotocols[:8]:
            if not offered.startswith(TOKEN_PREFIX):
                continue
            given = offered.removeprefix(TOKEN_PREFIX).encode("utf-8", "surrogatepass")
            if hmac.compare_digest(given, self.operator_token.encode()):
                role = "operator"
            elif hmac.compare_digest(given, self.observer_token.encode()) and role is None:
                role = "observer"
        return role


def security_headers(policy: AccessPolicy, authority: str) -> dict[str, str]:
    """The headers of every answer; ``authority`` is the (already allowed) Host the page was asked by."""
    socket_scheme = "wss" if policy.scheme == "https" else "ws"
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {socket_scheme}://{authority}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
