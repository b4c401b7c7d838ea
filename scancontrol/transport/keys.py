"""CURVE keys: files, the allow-list of clients, and sockets that take none but known peers.

Which addresses need them, :mod:`scancontrol.transport.endpoints` says; a server does, in order::

    check_address(address, security)                  # refuses to stand open to the network
    with Gatekeeper(context, security):               # answers who may come in
        secure_server(socket, security); bind(socket, address)

and a client ``secure_client(socket, security); socket.connect(address)``.

Key files are text as ``zmq.auth`` reads it: ``NAME.key`` is public, ``NAME.key_secret`` is for its owner alone (mode
0600, checked at each load). The allow-list is a folder of public key files. It is read anew at every handshake: add a
file to let a client in, remove it to keep the client out from its next connection on. Clients' own keys are read at
every (re)connection, and a server takes a new key of its own without a restart (:class:`KeyWatch`). CURVE is CurveZMQ,
https://rfc.zeromq.org/spec/26/ ; the allow-list is ZAP, spec 27.
"""

from __future__ import annotations

import logging
import os
import re
import stat
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
    "load_public_key",
    "load_secret_key",
    "make_keys",
    "secure_client",
    "secure_server",
    "use_key",
]

log = logging.getLogger(__name__)
_ZAP_DOMAIN = "scancontrol"
_LOOK_AT_KEYS_NS = 1_000_000_000
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
        """Read the key and look at the folder, before anything is opened.

        Raises:
            InvalidInput: one of them cannot be used.
        """
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
        try:
            paths = sorted(self.allowed_clients.glob("*.key"))[:_MAX_ALLOWED]
        except OSError as error:  # such as too many open files
            log.error("the allow-list %s cannot be read (%s): nobody is let in", self.allowed_clients, error.strerror)
            return False
        for path in paths:
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
        """Read both keys, before anything is opened.

        Raises:
            InvalidInput: one of them cannot be used.
        """
        load_secret_key(self.secret_key_file)
        load_public_key(self.server_key_file)


class Gatekeeper:
    """Answers, on a thread of its own, which clients may finish their handshake in this context."""

    def __init__(self, context: zmq.Context[Any], security: ServerSecurity) -> None:
        security.check()
        self._security = security
        self._authenticator = ThreadAuthenticator(context)

    def callback(self, domain: str, key: bytes) -> bool:
        """Asked by the authenticator for every handshake; what is raised here would end its thread."""
        try:
            return self._security.allows(key)
        except Exception:
            log.exception("a client could not be looked up, and is not let in")
            return False

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
    use_key(socket, load_secret_key(security.secret_key_file))


def use_key(socket: zmq.Socket[Any], key: tuple[bytes, bytes]) -> None:
    """Make a socket, not bound now, a CURVE server with this key (public, secret)."""
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
                log.warning("the key in use stays in use: %s", error)
            return False
        self._complaint = ""
        used, self.key = self.key, found
        return found != used


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new key pair; returns the public and the secret file. Never writes over a file.

    Raises:
        InvalidInput: the name is not a plain one, a file is there already, or the folder cannot be written.
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
    """The public key (Z85) of a key file.

    Raises:
        InvalidInput: it cannot be read, or is no key file.
    """
    return _keys(path, _read(path, secret=False))["public"]


def load_secret_key(path: Path) -> tuple[bytes, bytes]:
    """The public and secret key (Z85) of a secret key file that nobody else can read.

    Raises:
        InvalidInput: there is no such file, it is no key file, or its mode lets others read or write it.
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
