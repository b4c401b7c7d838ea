"""What the daemon and the restorer say to each other: one frozen value per message, and their framing.

Daemon to restorer: ``hello``, ``register`` (a path's recipe, once), ``restore`` (sample values, second part),
``ping``. Restorer to daemon: ``welcome``, ``registered``, ``restored`` (estimate and interval, second and third
part), ``dropped``, ``refused``, ``pong``. A ``restore`` carries all samples of its frame so far, so it needs no
state at the other end but the path: any of them may be lost, dropped or sent to a restarted restorer. Every
``restore`` is answered exactly once while the connection lives.

Everything is bounded before it is decoded, and typed before it is used; what cannot be read raises
:class:`~scancontrol.errors.RemoteProtocolError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput, RemoteProtocolError
from scancontrol.restoration import Provenance

__all__ = [
    "FROM_DAEMON",
    "FROM_RESTORER",
    "MAX_HEADER_BYTES",
    "MAX_SAMPLE_BYTES",
    "VERSION",
    "Dropped",
    "Hello",
    "Ping",
    "Pong",
    "Refused",
    "Register",
    "Registered",
    "Restore",
    "Restored",
    "Welcome",
    "encode",
    "read_images",
    "read_samples",
]

VERSION = 3
MAX_HEADER_BYTES = 32 << 20  # a recipe may carry a list of points: 10⁶ of them take 18 MB
MAX_SAMPLE_BYTES = 256 << 20  # 64 million samples as <f4
MAX_SIDE = 1 << 15

Part = bytes | memoryview
Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
PathId = Annotated[str, msgspec.Meta(min_length=32, max_length=32, pattern="^[0-9a-f]+$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
Dtype = Literal["<u2", "<f4"]
_ITEM_BYTES: dict[str, int] = {"<u2": 2, "<f4": 4}


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; ``type`` on the wire names the class."""


# -- daemon to restorer --------------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a connection; answered by :class:`Welcome` or :class:`Refused`."""

    version: int
    software: Name


class Register(_Message, frozen=True, kw_only=True, tag="register"):
    """A path, by its recipe; the restorer expands it and prepares for it, then answers :class:`Registered`.

    With ``coil`` the samples are placed where that lag puts the beam, not where it was told to be.
    """

    path_id: PathId
    recipe: dict[str, Any]
    coil: CoilModel | None = None


class Restore(_Message, frozen=True, kw_only=True, tag="restore"):
    """Restore a frame from its first ``count`` samples, the second part of this message.

    ``live`` frames may be dropped when a newer one of the same ``stream`` comes; others never are, but are
    refused as ``busy`` beyond the restorer's stated ``backlog``. ``complete`` is false for a frame of which
    more samples are to come.
    """

    request: Count
    stream: Name
    frame: Count
    path_id: PathId
    count: Count
    dtype: Dtype
    live: bool = True
    complete: bool = True


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """Answered at once by :class:`Pong`, also while a frame is being restored."""

    sequence: Count


# -- restorer to daemon --------------------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    """Who restores: ``method`` as it will stand beside each estimate (``auto`` chooses for each path)."""

    version: int
    software: Name
    method: Name
    device: Name
    weights_hash: Name
    backlog: Count  # frames that are not live and may wait at once


class Registered(_Message, frozen=True, kw_only=True, tag="registered"):
    """The path is prepared and ``method`` has run once on it, in ``restore_ms``; the beam needs ``beam_ms``."""

    path_id: PathId
    count: Count
    rows: Side
    cols: Side
    method: Name
    restore_ms: float
    beam_ms: float


class Restored(_Message, frozen=True, kw_only=True, tag="restored"):
    """An estimate, (rows, cols) ``<f4`` in sample units, in the second part; its interval in the third.

    The interval is the half-width that 90 % of true pixels lie within. ``compute_ms`` was spent restoring,
    ``waited_ms`` in the queue.
    """

    request: Count
    stream: Name
    frame: Count
    path_id: PathId
    complete: bool
    rows: Side
    cols: Side
    has_interval: bool
    made_by: Provenance
    compute_ms: float
    waited_ms: float


class Dropped(_Message, frozen=True, kw_only=True, tag="dropped"):
    """A live frame gave way to a newer one; ``total`` counts them since the connection began."""

    request: Count
    stream: Name
    frame: Count
    total: Count


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """What was asked for was not done, and nothing else changed. Names the request, or the path, if there is one."""

    code: Literal["malformed", "version", "unknown_path", "bad_path", "bad_samples", "busy", "failed"]
    text: Text
    request: Count | None = None
    path_id: PathId | None = None


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    """The restorer lives; ``waiting`` frames are in its queue, ``restored`` and ``dropped`` since it started."""

    sequence: Count
    waiting: Count
    restored: Count
    dropped: Count


DaemonMessage = Hello | Register | Restore | Ping
RestorerMessage = Welcome | Registered | Restored | Dropped | Refused | Pong

M = TypeVar("M")


class Codec(Generic[M]):
    """Decodes what one direction may carry."""

    def __init__(self, kinds: Any, name: str) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kinds)
        self._name = name

    def decode(self, parts: Sequence[Part]) -> tuple[M, list[Part]]:
        """One message, and its raw parts, whose sizes agree with its header.

        Raises:
            RemoteProtocolError: too large, malformed, of no known type, or its parts do not fit it.
        """
        if not 1 <= len(parts) <= 3:
            raise RemoteProtocolError(f"{self._name}: a message of {len(parts)} parts; one to three are known")
        if _size(parts[0]) > MAX_HEADER_BYTES:
            raise RemoteProtocolError(
                f"{self._name}: a header of {_size(parts[0])} bytes; the limit is {MAX_HEADER_BYTES}"
            )
        try:
            message = self._decoder.decode(parts[0])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, InvalidInput) as error:
            raise RemoteProtocolError(f"{self._name}: {error}") from None
        payload = list(parts[1:])
        expected = _payload_bytes(message)
        actual = [_size(part) for part in payload]
        if actual != expected:
            kind = type(message).__name__.lower()
            raise RemoteProtocolError(
                f"{self._name}: {kind} with parts of {actual} bytes where its header says {expected}"
            )
        return message, payload


def _payload_bytes(message: DaemonMessage | RestorerMessage) -> list[int]:
    if isinstance(message, Restore):
        size = message.count * _ITEM_BYTES[message.dtype]
        if size > MAX_SAMPLE_BYTES:
            raise RemoteProtocolError(f"restore: {size} bytes of samples; the limit is {MAX_SAMPLE_BYTES}")
        return [size]
    if isinstance(message, Restored):
        return [4 * message.rows * message.cols] * (2 if message.has_interval else 1)
    return []


def _size(part: Part) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)


_encoder = msgspec.msgpack.Encoder()


def encode(message: DaemonMessage | RestorerMessage, *payload: Any) -> list[Any]:
    """The parts of a message, ready for one multipart send; ``payload`` are buffers, sent without a copy."""
    return [_encoder.encode(message), *payload]


def read_samples(header: Restore, payload: Sequence[Part]) -> NDArray[Any]:
    """The samples (n,) of a :class:`Restore`, without a copy, read-only."""
    values = np.frombuffer(payload[0], dtype=np.dtype(header.dtype))
    values.flags.writeable = False
    return values


def read_images(header: Restored, payload: Sequence[Part]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Estimate and interval (rows, cols) of a :class:`Restored`, without a copy, read-only."""
    images: list[NDArray[np.float32]] = []
    for part in payload:
        image = np.frombuffer(part, dtype="<f4").reshape(header.rows, header.cols)
        image.flags.writeable = False
        images.append(image)
    return images[0], images[1] if header.has_interval else None


FROM_DAEMON: Codec[DaemonMessage] = Codec(DaemonMessage, "to the restorer")
FROM_RESTORER: Codec[RestorerMessage] = Codec(RestorerMessage, "from the restorer")
