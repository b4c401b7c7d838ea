"""How images travel: to be looked at, as a small JSON header and 16-bit planes. Pure functions.

``<u4`` header length, header (JSON, padded with spaces to a multiple of 8 with the length itself), then the
planes in the header's order. A ``u2`` plane means ``value = low + (high − low)·q/65535``: the rounding is at
most 1/131070 of the image's range, far below what a screen or an eye resolves, at half the bytes of float32.
The ``u1`` weight plane is 0 where the beam never was and 1 to 255 in proportion to the dwell. A restoration's ``u1``
plane ``known``, left out where it would be 255 everywhere, is 0 where the samples tell nothing of the specimen. Behind
the planes of a restored crystal its strain follows as ``<f4``, (8, n, n) with n the header's ``strain_side``, whole.

Frames larger than :data:`MAX_SIDE` are binned by a whole factor (weighted by dwell where there is a weight),
and the header says by how much.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scancontrol.daemon.page.hub import PartialView, RestorationView, TruthView

__all__ = ["MAX_SIDE", "encode_frame", "packed", "quantise"]

MAX_SIDE = 1024  # no panel of the page is larger


_SMALLEST_SPAN = 1e-33
"""Below this the number of steps per unit does not fit in a float32."""


def quantise(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Return ``(q, low, high)`` with ``image ≈ low + (high − low)·q/65535``; non-finite values become ``low``."""
    values = np.asarray(image, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # one NaN makes both NaN
        finite = np.isfinite(values)
        low = float(values.min(where=finite, initial=np.inf))
        high = float(values.max(where=finite, initial=-np.inf))
        if low > high:
            return np.zeros(values.shape, "<u2"), 0.0, 0.0
        values = np.where(finite, values, np.float32(low))
    if high <= low:
        return np.zeros(values.shape, "<u2"), low, high
    if high - low < _SMALLEST_SPAN:
        values = values.astype(np.float64)
    # Halved first: the whole range of float32 does not fit in a float32 difference.
    scaled = values * values.dtype.type(0.5)
    scaled -= values.dtype.type(low * 0.5)
    scaled *= values.dtype.type(65535 / (high * 0.5 - low * 0.5))
    scaled += values.dtype.type(0.5)
    np.clip(scaled, 0, 65535, out=scaled)
    return scaled.astype("<u2"), low, high


def encode_frame(kind: str, seq: int, view: PartialView | RestorationView | TruthView) -> bytes:
    """Return the binary message that shows ``view`` as ``kind``, to be acknowledged by ``seq``."""
    header: dict[str, Any] = {"type": kind, "seq": seq}
    planes: list[dict[str, Any]] = []
    payload: list[bytes] = []

    def add(name: str, plane: npt.NDArray[Any], **scale: float) -> None:
        planes.append({"name": name, "dtype": "u1" if plane.dtype.itemsize == 1 else "u2", **scale})
        payload.append(np.ascontiguousarray(plane).tobytes())

    def add_scaled(name: str, image: npt.NDArray[Any]) -> None:
        q, low, high = quantise(image)
        add(name, q, low=low, high=high)

    if isinstance(view, PartialView):
        shape = view.image.shape
        image, weight, binning = _binned(view.image, view.weight)
        present = (weight > 0) & np.isfinite(image)
        # Unmeasured pixels take a measured value, so that they do not widen the range.
        add_scaled("image", np.where(present, image, image.flat[present.argmax()] if present.any() else 0))
        add("weight", _weight_plane(weight, present))
        header |= {
            "series": str(view.series_id),
            "frame": view.frame,
            "complete": view.complete,
            "samples": view.samples,
            "planned": view.samples_planned,
            "path": view.path_id,
            "fov_nm": view.fov_nm,
            "channel": view.channel,
        }
    elif isinstance(view, RestorationView):
        shape = view.estimate.shape
        image, _, binning = _binned(view.estimate, None)
        add_scaled("estimate", image)
        if view.interval is not None:
            add_scaled("interval", _binned(view.interval, None)[0])
        if view.known is not None:
            share = _binned(view.known.astype(np.float32), None)[0]
            add("known", np.where(share >= 0.5, 255, 0).astype(np.uint8))
        header |= {
            "series": str(view.series_id),
            "frame": view.frame,
            "made_by": view.made_by,
            "latency_ms": view.latency_ms,
            "partial": view.partial,
            "channel": view.channel,
            "outline": None if view.outline is None else view.outline.tolist(),
            "scanned_utc_ms": view.scanned_utc_ms,
            "strain_side": 0 if view.strain is None else view.strain.shape[-1],
        }
        if view.strain is not None:
            payload.append(np.ascontiguousarray(view.strain, "<f4").tobytes())
    elif view.image is None:
        header["channel"] = view.channel
        shape, binning, image = (0, 0), 1, np.zeros((0, 0), np.float32)
    else:
        header["channel"] = view.channel
        if view.of is not None:
            header |= {"series": str(view.of[0]), "frame": view.of[1]}
        shape = view.image.shape
        image, _, binning = _binned(view.image, None)
        add_scaled("image", image)
    header |= {
        "rows": image.shape[0],
        "cols": image.shape[1],
        "full_rows": shape[0],
        "full_cols": shape[1],
        "binning": binning,
        "planes": planes,
    }
    return packed(header, payload)


def packed(header: dict[str, Any], payload: Iterable[bytes | memoryview]) -> bytes:
    """A message: the header's length, the header padded to whole words, the planes."""
    text = msgspec.json.encode(header)
    text += b" " * (-(4 + len(text)) % 8)
    return b"".join((struct.pack("<I", len(text)), text, *payload))


def _weight_plane(weight: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    shares = np.where(present, weight, 0).astype(np.float32)
    top = float(shares.max())
    if top > 0:
        shares *= 255 / top
        np.ceil(shares, out=shares)
        np.minimum(shares, 255, out=shares)
    return shares.astype(np.uint8)


def _binned(image: npt.NDArray[Any], weight: npt.NDArray[Any] | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """Return image and weight with at most :data:`MAX_SIDE` on a side, and the factor; odd edges are cut."""
    factor = -(-max(image.shape) // MAX_SIDE)
    if factor == 1:
        return image, np.ones(image.shape, np.uint8) if weight is None else weight, 1
    rows, cols = (side // factor for side in image.shape)
    if 0 in (rows, cols):  # a strip narrower than one block: nothing to average over in that direction
        return (
            image[::factor, ::factor],
            np.ones((1, 1), np.uint8) if weight is None else weight[::factor, ::factor],
            factor,
        )
    total = np.zeros((rows, cols), np.float32)
    summed = np.zeros((rows, cols), np.float32)
    for i, j in np.ndindex(factor, factor):  # whole strided planes are many times faster than one 4-D reduction
        block = np.s_[i : rows * factor : factor, j : cols * factor : factor]
        if weight is None:
            summed += image[block]
        else:
            share = weight[block].astype(np.float32)
            total += share
            summed += np.where(share > 0, image[block], 0) * share
    if weight is None:
        return summed / factor**2, np.ones((rows, cols), np.uint8), factor
    return summed / np.where(total > 0, total, 1), total, factor
