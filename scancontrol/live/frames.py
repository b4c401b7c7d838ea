"""How an image travels to the page: a small JSON header, then 16-bit planes. Pure functions.

``<u4`` header length, header (JSON, padded with spaces to a multiple of 8 with the length itself), then the
planes in the header's order. A ``u2`` plane means ``value = low + (high − low)·q/65535``: the rounding is at
most 1/131070 of the image's range, far below what a screen or an eye resolves, at half the bytes of float32.
The ``u1`` weight plane is 0 where the beam never was and 1 to 255 in proportion to the dwell.

Frames larger than :data:`MAX_SIDE` are binned by a whole factor (weighted by dwell where there is a weight),
and the header says by how much.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scancontrol.live.hub import PartialView, RestorationView, TruthView

__all__ = ["MAX_SIDE", "encode_frame", "quantise"]

MAX_SIDE = 1024  # no panel of the page is larger


def quantise(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Return ``(q, low, high)`` with ``image ≈ low + (high − low)·q/65535``; non-finite values become ``low``."""
    values = np.asarray(image, dtype=np.float32)
    finite = np.isfinite(values)
    if finite.all():
        low, high = float(values.min()), float(values.max())
    elif finite.any():
        low, high = float(values[finite].min()), float(values[finite].max())
        values = np.where(finite, values, np.float32(low))
    else:
        return np.zeros(values.shape, np.uint16), 0.0, 0.0
    if high <= low:
        return np.zeros(values.shape, np.uint16), low, high
    # The subtraction is halved first: float32's whole range does not fit in a float32 difference.
    scaled = (values * 0.5 - np.float32(low * 0.5)) * np.float32(65535 / (high * 0.5 - low * 0.5))
    return np.clip(np.rint(scaled), 0, 65535).astype("<u2"), low, high


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
        add_scaled("image", np.where(present, image, np.nan))
        add("weight", _weight_plane(weight, present))
        header |= {
            "series": str(view.series_id), "frame": view.frame, "complete": view.complete,
            "samples": view.samples, "planned": view.samples_planned, "path": view.path_id, "fov_nm": view.fov_nm,
        }  # fmt: skip
    elif isinstance(view, RestorationView):
        shape = view.estimate.shape
        image, _, binning = _binned(view.estimate, None)
        add_scaled("estimate", image)
        if view.interval is not None:
            add_scaled("interval", _binned(view.interval, None)[0])
        header |= {
            "series": str(view.series_id), "frame": view.frame, "method": view.method, "face": view.face,
            "weights": view.weights_hash, "withheld_rmse": view.withheld_rmse, "latency_ms": view.latency_ms,
            "progressive": view.progressive,
        }  # fmt: skip
    elif view.image is None:
        shape, binning, image = (0, 0), 1, np.zeros((0, 0), np.float32)
    else:
        shape = view.image.shape
        image, _, binning = _binned(view.image, None)
        add_scaled("image", image)
    header |= {
        "rows": image.shape[0], "cols": image.shape[1], "full_rows": shape[0], "full_cols": shape[1],
        "binning": binning, "planes": planes,
    }  # fmt: skip
    text = msgspec.json.encode(header)
    text += b" " * (-(4 + len(text)) % 8)
    return b"".join((struct.pack("<I", len(text)), text, *payload))


def _weight_plane(weight: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    top = float(weight.max(where=present, initial=0))
    if top <= 0:
        return np.zeros(weight.shape, np.uint8)
    return np.where(present, np.clip(np.ceil(weight * (255 / top)), 1, 255), 0).astype(np.uint8)


def _binned(image: npt.NDArray[Any], weight: npt.NDArray[Any] | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """Return image and weight with at most :data:`MAX_SIDE` on a side, and the factor; odd edges are cut."""
    factor = -(-max(image.shape) // MAX_SIDE)
    if factor == 1:
        return image, np.ones(image.shape, np.uint8) if weight is None else weight, 1
    rows, cols = (max(1, side // factor) for side in image.shape)
    high, wide = min(factor, image.shape[0]), min(factor, image.shape[1])
    blocks = image[: rows * high, : cols * wide].reshape(rows, high, cols, wide)
    if weight is None:
        return blocks.mean(axis=(1, 3)), np.ones((rows, cols), np.uint8), factor
    shares = np.asarray(weight[: rows * high, : cols * wide], np.float32).reshape(rows, high, cols, wide)
    total = shares.sum(axis=(1, 3))
    summed = np.where(shares > 0, blocks * shares, 0).sum(axis=(1, 3))
    return summed / np.where(total > 0, total, 1), total, factor
