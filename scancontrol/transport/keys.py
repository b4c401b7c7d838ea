"""Who may connect: loopback without keys, anything else by CURVE with an allow-list of clients, or not at all.

Every process that opens a ZeroMQ socket uses these functions, so that there is one rule and one place for it::

    check_address(address, security)                  # refuses to stand open to the network
    with Gatekeeper(context, security):               # a server's: answers who may come in
        secure_server(socket, security); bind(socket, address)
    secure_client(socket, security); socket.connect(address)

Key files are text as ``zmq.auth`` reads it: ``NAME.key`` is public, ``NAME.key_secret`` is for its owner alone (mode
0600, checked at each load). The allow-list is a folder of public key files. It is read anew at every handshake: add a
file to let a client in, remove it to keep the client out from its next connection on. Clients' own keys are read at
every (re)connection, and a server takes a new key of its own without a restart (:class:`KeyWatch`). CURVE is CurveZMQ,
https://rfc.zeromq.org/spec/26/ ; the allow-list is ZAP, spec 27.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from scancontrol.errors import InvalidInput

__all__ = [
    "ClientSecurity",
    "Gatekeeper",
    "KeyWatch",
    "ServerSecurity",
    "bind",
    "bind_again",
    "check_address",
    "is_local",
    "load_public_key",
    "load_secret_key",
    "make_keys",
    "secure_client",
    "secure_server",
]

_LOG = logging.getLogger(__name__)
_ZAP_DOMAIN = "scancontrol"
_LOOK_AT_KEYS_NS = 1_000_000_000
_BIND_AGAIN_S = 2.0
_MAX_KEY_FILE_BYTES = 4096
_MAX_ALLOWED = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LINE = re.compile(r'^\s*(public|secret)-key\s*=\s*"([^"]{40})"\s*$', re.MULTILINE)


@dataclass(frozen=True)
class ServerSecurity:
    """A server's secret key file, and the folder of the clients' public keys that it lets in."""

    secret_key_file: Path
    allowed_clients: Path

    def check(self) -> None:
        """Raise :class:`InvalidInput` if the key or the folder cannot be used."""
        load_secret_key(self.secret_key_file)
        if not self.allowed_clients.is_dir():
            raise InvalidInput(
                "allow-list",
                self.allowed_clients,
                "is not a folder",
                "make one and put the clients' .key files into it",
            )

    def allows(self, public_key: bytes) -> bool:
        """Whether this client's public key (Z85) is in the folder now."""
        for path in sorted(self.allowed_clients.glob("*.key"))[:_MAX_ALLOWED]:
            try:
                if load_public_key(path) == public_key:
                    return True
            except InvalidInput:
                continue  # one broken file must not keep everybody out
        return False


@dataclass(frozen=True)
class ClientSecurity:
    """A client's secret key file, and the public key of the server that it expects."""

    secret_key_file: Path
    server_key_file: Path

    def check(self) -> None:
        """Raise :class:`InvalidInput` if a key cannot be used."""
        load_secret_key(self.secret_key_file)
        load_public_key(self.server_key_file)


class Gatekeeper:
    """Answers, on a thread of its own, which clients may finish their handshake in this context."""

    def __init__(self, context: zmq.Context[Any], security: ServerSecurity) -> None:
        security.check()
        self._security = security
        self._authenticator = ThreadAuthenticator(context)

    def callback(self, domain: str, key: bytes) -> bool:
        """Asked by the authenticator for every handshake."""
        return self._security.allows(key)

    def __enter__(self) -> Gatekeeper:
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=_ZAP_DOMAIN, credentials_provider=self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._authenticator.stop()


def secure_server(socket: zmq.Socket[Any], security: ServerSecurity | None) -> None:
    """Make a socket, not yet bound, take none but encrypted connections of known clients."""
    if security is None:
        return
    _use_key(socket, load_secret_key(security.secret_key_file))


def _use_key(socket: zmq.Socket[Any], key: tuple[bytes, bytes]) -> None:
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = key
    socket.zap_domain = _ZAP_DOMAIN.encode()


def secure_client(socket: zmq.Socket[Any], security: ClientSecurity | None) -> None:
    """Make a socket, not yet connected, show its key and expect the server's."""
    if security is None:
        return
    public, secret = load_secret_key(security.secret_key_file)
    socket.curve_serverkey = load_public_key(security.server_key_file)
    socket.curve_publickey = public
    socket.curve_secretkey = secret


class KeyWatch:
    """Sees that a server's key file holds another key than the one in use."""

    def __init__(self, security: ServerSecurity) -> None:
        self._security = security
        self.key = load_secret_key(security.secret_key_file)  # the one in use: public and secret
        self._looked_ns = 0
        self._complaint = ""

    def changed(self, now_ns: int) -> bool:
        """True once for each new key; looks at the file once a second. One that cannot be used changes nothing."""
        if now_ns - self._looked_ns < _LOOK_AT_KEYS_NS:
            return False
        self._looked_ns = now_ns
        try:
            found = load_secret_key(self._security.secret_key_file)
        except InvalidInput as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _LOG.warning("the key in use stays in use: %s", error)
            return False
        self._complaint = ""
        used, self.key = self.key, found
        return found != used


def bind_again(socket: zmq.Socket[Any], endpoint: str, key: tuple[bytes, bytes]) -> None:
    """Listen at the same endpoint with another key (public, secret). All who are connected have to come again.

    :raises InvalidInput: another process took the port meanwhile
    """
    socket.unbind(endpoint)
    _use_key(socket, key)
    deadline = time.monotonic() + _BIND_AGAIN_S
    while True:
        try:
            bind(socket, endpoint)
        except InvalidInput:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # the listener is let go of by another thread
        else:
            return


def is_local(address: str) -> bool:
    """Whether an endpoint can be reached from this machine only."""
    if address.startswith(("inproc://", "ipc://")):
        return True
    if not address.startswith("tcp://"):
        return False
    host = address.removeprefix("tcp://").rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(address: str, security: ServerSecurity | ClientSecurity | None) -> None:
    """Raise :class:`InvalidInput` for an endpoint that is malformed, or open to the network without keys."""
    known = re.fullmatch(r"(tcp://(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(\*|\d{1,5})|(ipc|inproc)://\S+)", address)
    if known is None or (address.startswith("tcp://") and int(address.rsplit(":", 1)[1].replace("*", "0")) > 65535):
        raise InvalidInput("address", address, "is not an endpoint", "give one such as tcp://127.0.0.1:5555")
    if security is not None:
        security.check()
    elif not is_local(address):
        raise InvalidInput(
            "address",
            address,
            "is reachable over the network and no keys are given",
            "use tcp://127.0.0.1:PORT, or make keys with 'scancontrol keys' and name them",
        )


def bind(socket: zmq.Socket[Any], address: str) -> str:
    """Bind, and return the endpoint with the port that was found (port 0 or ``*`` is any free one).

    :raises InvalidInput: the port is in use, or is not this machine's to bind
    """
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.bind(re.sub(r":0$", ":*", address))
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise InvalidInput(
                "address", address, "is in use by another process", "end it, or choose another port (0 is any free one)"
            ) from None
        raise InvalidInput(
            "address", address, f"cannot be bound ({error.strerror})", "choose an address of this machine"
        ) from None
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    return endpoint.rstrip(b"\0").decode() if isinstance(endpoint, bytes) else str(endpoint)


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new key pair; returns the public and the secret file. Never writes over a file.

    :raises InvalidInput: the name is not a plain one, a file is there already, or the folder cannot be written
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "key name", repr(name), "is not made of letters, digits, '.', '_' and '-'", "choose a plain name"
        )
    public, secret = zmq.curve_keypair()
    public_file, secret_file = folder / f"{name}.key", folder / f"{name}.key_secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (public_file, secret_file):
            if path.exists():
                raise InvalidInput("key file", path, "is there already", "choose another name, or remove it")
        text = f'curve\n    public-key = "{public.decode()}"\n'
        _write(secret_file, 0o600, f'{text}    secret-key = "{secret.decode()}"\n')
        _write(public_file, 0o644, text)
    except OSError as error:
        raise InvalidInput(
            "key folder", folder, f"cannot be written ({error.strerror})", "choose a folder of yours"
        ) from None
    return public_file, secret_file


def _write(path: Path, mode: int, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def load_public_key(path: Path) -> bytes:
    """The public key (Z85) of a key file. Raises :class:`InvalidInput`."""
    return _keys(path, _read(path, secret=False))["public"]


def load_secret_key(path: Path) -> tuple[bytes, bytes]:
    """The public and secret key (Z85) of a secret key file that nobody else can read.

    :raises InvalidInput: no such file, not a key file, or its mode lets others read or write it
    """
    keys = _keys(path, _read(path, secret=True))
    if "secret" not in keys:
        raise InvalidInput("key file", path, "holds no secret key", "give the .key_secret file")
    return keys["public"], keys["secret"]


def _read(path: Path, *, secret: bool) -> str:
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())  # of what was opened, so that nothing can be swapped in between
            content = file.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            "key file", path, f"cannot be read ({error.strerror})", "make keys with 'scancontrol keys'"
        ) from None
    if secret and (state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077):
        raise InvalidInput(
            "key file",
            path,
            f"has mode {stat.S_IMODE(state.st_mode):04o} and owner {state.st_uid}",
            f"make it yours alone: chmod 600 {path}",
        )
    return content.decode("ascii", errors="replace")


def _keys(path: Path, text: str) -> dict[str, bytes]:
    keys = {kind: value.encode("ascii", errors="replace") for kind, value in _LINE.findall(text)}
    if len(text) > _MAX_KEY_FILE_BYTES or "public" not in keys:
        raise InvalidInput("key file", path, "is not a CURVE key file", "make keys with 'scancontrol keys'")
    try:
        for value in keys.values():
            if len(z85.decode(value)) != 32:
                raise ValueError
    except (ValueError, KeyError):
        raise InvalidInput("key file", path, "holds a key that is not Z85", "make keys anew") from None
    return keys
