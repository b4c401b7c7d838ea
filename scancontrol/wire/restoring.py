"""What the daemon and the restorer say to each other: one frozen value per message, and their framing.

Daemon to restorer: ``hello``, ``register`` (a path's recipe, once), ``restore`` (sample values, second part),
``ping``. Restorer to daemon: ``welcome``, ``registered``, ``restored`` (estimate and interval, second and third
part), ``refused``, ``pong``. A ``restore`` carries all samples of its frame so far, so it needs no state at the other
end but the path: any of them may be lost, or sent to a restarted restorer. What is asked is done in the order in
which it was asked; every ``register`` and ``restore`` is answered exactly once while the connection lives.

Everything is bounded before it is decoded, and typed before it is used; what cannot be read raises
:class:`~scancontrol.errors.RemoteProtocolError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import RemoteProtocolError
from scancontrol.restoration import Look, Provenance
from scancontrol.wire.codec import ITEM_BYTES, MAX_CONTROL_BYTES, Codec, Part, encode

__all__ = [
    "FROM_DAEMON",
    "FROM_RESTORER",
    "MAX_SAMPLE_BYTES",
    "STRAIN_PLANES",
    "VERSION",
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
    "read_strain",
]

VERSION = 4
MAX_SAMPLE_BYTES = 256 << 20  # 64 million samples as <f4
MAX_SIDE = 1 << 15
STRAIN_PLANES = 8  # four of the gradient, four of deviations

Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
PathId = Annotated[str, msgspec.Meta(min_length=32, max_length=32, pattern="^[0-9a-f]+$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
Dtype = Literal["<u2", "<f4"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; ``type`` on the wire names the class."""


# -- daemon to restorer --------------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a connection; answered by :class:`Welcome` or :class:`Refused`."""

    version: int
    software: Name


class Register(_Message, frozen=True, kw_only=True, tag="register"):
    """A path, by its recipe; the restorer expands it and prepares for it, then answers :class:`Registered`.

    With ``coil`` the samples are placed where that lag puts the beam, not where it was told to be. With ``detector``
    its afterglow is explained away.
    """

    path_id: PathId
    recipe: dict[str, Any]
    coil: CoilModel | None = None
    detector: DetectorChannel | None = None


class Restore(_Message, frozen=True, kw_only=True, tag="restore"):
    """Restore a frame from its first ``count`` samples, the second part of this message.

    ``complete`` is false for a frame of which more samples are to come. Frames of one ``stream`` are of one field. With
    a ``look`` nothing is remembered of it.
    """

    request: Count
    stream: Name
    frame: Count
    path_id: PathId
    count: Count
    dtype: Dtype
    complete: bool = True
    look: Look | None = None


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """Answered at once by :class:`Pong`, also while a frame is being restored."""

    sequence: Count


# -- restorer to daemon --------------------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    """Who restores: ``method`` as it will stand beside each estimate (``auto`` chooses for each path).

    At most ``backlog`` paths and frames of a client may wait at once. A client who sends more is refused as
    ``overrun`` and not heard again until its next hello.
    """

    version: int
    software: Name
    method: Name
    device: Name
    weights_hash: Name
    backlog: Count


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
    ``waited_ms`` in the queue. With ``strain_side`` n above 0 the last part is a lattice's strain, (8, n, n) ``<f4``:
    ∂d_y/∂y, ∂d_y/∂x, ∂d_x/∂y, ∂d_x/∂x of its displacement d, then standard deviations of εxx, εyy, εxy and rotation,
    at n evenly spaced places of each axis from the first pixel to the last.
    """

    request: Count
    stream: Name
    frame: Count
    path_id: PathId
    complete: bool
    rows: Side
    cols: Side
    has_interval: bool
    strain_side: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    made_by: Provenance
    compute_ms: float
    waited_ms: float


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """What was asked for was not done, and nothing else changed. Names the request, or the path, if there is one."""

    code: Literal["malformed", "version", "unknown_path", "bad_path", "bad_samples", "overrun", "failed"]
    text: Text
    request: Count | None = None
    path_id: PathId | None = None


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    """The restorer lives; ``waiting`` paths and frames are in its queue, ``restored`` since it started."""

    sequence: Count
    waiting: Count
    restored: Count


DaemonMessage = Hello | Register | Restore | Ping
RestorerMessage = Welcome | Registered | Restored | Refused | Pong


def _payload_bytes(message: DaemonMessage | RestorerMessage) -> list[int]:
    if isinstance(message, Restore):
        size = message.count * ITEM_BYTES[message.dtype]
        if size > MAX_SAMPLE_BYTES:
            raise RemoteProtocolError(f"restore: {size} bytes of samples; the limit is {MAX_SAMPLE_BYTES}")
        return [size]
    if isinstance(message, Restored):
        strain = [4 * STRAIN_PLANES * message.strain_side**2] if message.strain_side else []
        return [4 * message.rows * message.cols] * (2 if message.has_interval else 1) + strain
    return []


def read_samples(header: Restore, payload: Sequence[Part]) -> NDArray[Any]:
    """The samples (n,) of a :class:`Restore`, without a copy, read-only."""
    values = np.frombuffer(payload[0], dtype=np.dtype(header.dtype))
    values.flags.writeable = False
    return values


def read_images(header: Restored, payload: Sequence[Part]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Estimate and interval (rows, cols) of a :class:`Restored`, without a copy, read-only."""
    images: list[NDArray[np.float32]] = []
    for part in payload[: 2 if header.has_interval else 1]:
        image = np.frombuffer(part, dtype="<f4").reshape(header.rows, header.cols)
        image.flags.writeable = False
        images.append(image)
    return images[0], images[1] if header.has_interval else None


def read_strain(header: Restored, payload: Sequence[Part]) -> NDArray[np.float32] | None:
    """The gradient of a lattice's displacement with its deviations, (8, n, n), without a copy, read-only; or None."""
    if not header.strain_side:
        return None
    found = np.frombuffer(payload[-1], dtype="<f4").reshape(STRAIN_PLANES, header.strain_side, header.strain_side)
    found.flags.writeable = False
    return found


FROM_DAEMON: Codec[DaemonMessage] = Codec(DaemonMessage, MAX_CONTROL_BYTES, "to the restorer", _payload_bytes)
FROM_RESTORER: Codec[RestorerMessage] = Codec(RestorerMessage, MAX_CONTROL_BYTES, "from the restorer", _payload_bytes)
