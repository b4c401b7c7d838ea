"""HDF5 of any program: HyperSpy's, EMD of Velox and of Berkeley, and files of nobody's convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import Found

__all__ = ["images_in"]

_NM = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "nm": 1.0, "[n_m]": 1.0, "pm": 1e-3, "å": 0.1, "a": 0.1}


def images_in(path: Path, name: str, least_side: int) -> list[Found]:
    """The datasets of an HDF5 file that can be an image: real numbers, two long axes. All of them if one is named.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            found: list[Found] = []
            file.visititems(lambda at, item: _look(file, at, item, found, least_side, name))
            return [_read(one) for one in found] if len(found) == 1 or name else found
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InvalidInput("image", path, f"cannot be read as HDF5 ({error})", "replace or remove the file") from error


def _read(one: Found) -> Found:
    pixels = one.pixels[()]
    return Found(one.name, pixels, one.shape, one.dtype, one.pixel_nm, one.said)


def _look(file: h5py.File, at: str, item: Any, found: list[Found], least_side: int, name: str) -> None:
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "uifcb" or item.dtype.names is not None:
        return
    long = [length for length in item.shape if length > 1]
    if len(long) == 3 and long[-1] in (3, 4):  # colours
        long.pop()
    mine = at == name or at.endswith(f"/{name}") or _title(file, at) == name
    if (len(long) != 2 or min(long) < least_side) and not (name and mine):
        return
    if name and not mine:
        return
    title = name if name and mine else _title(file, at) or at
    found.append(Found(title, item, tuple(item.shape), item.dtype, _pixel_nm(file, at), (f"dataset {at}",)))


def _title(file: h5py.File, at: str) -> str:
    """What a person calls it: the detector's name in Velox, the signal's in HyperSpy."""
    group = file[at].parent
    if at.startswith("Data/Image/") and at.endswith("/Data"):
        metadata = _velox(group)
        return str((metadata.get("BinaryResult") or {}).get("Detector") or "")
    if at.startswith("Experiments/") and at.endswith("/data"):
        return at.split("/")[1]
    return ""


def _pixel_nm(file: h5py.File, at: str) -> tuple[float, float] | None:
    group = file[at].parent
    sizes: list[float | None] = []
    if at.startswith("Data/Image/"):
        pixel = (_velox(group).get("BinaryResult") or {}).get("PixelSize") or {}
        sizes = [float(pixel[axis]) * 1e9 if axis in pixel else None for axis in ("height", "width")]
    elif "axis-0" in group and "axis-1" in group:
        for axis in ("axis-0", "axis-1"):
            about = group[axis].attrs
            factor = _NM.get(str(about.get("units", "")).lower())
            sizes.append(None if factor is None else float(about.get("scale", 1)) * factor)
    elif "dim1" in group and "dim2" in group:
        for axis in ("dim1", "dim2"):
            ticks, unit = np.asarray(group[axis][:2], float), group[axis].attrs.get("units", "")
            factor = _NM.get((unit.decode() if isinstance(unit, bytes) else str(unit)).lower().strip())
            sizes.append(None if factor is None or len(ticks) < 2 else float(ticks[1] - ticks[0]) * factor)
    y, x = sizes if len(sizes) == 2 else (None, None)
    return None if y is None or x is None or not (0 < y < 1e9 and 0 < x < 1e9) else (y, x)


def _velox(group: h5py.Group) -> dict[str, Any]:
    """The JSON beside an image of Velox, as its first column of bytes."""
    try:
        raw = bytes(np.asarray(group["Metadata"][:, 0], np.uint8)).rstrip(b"\x00")
        found = msgspec.json.decode(raw)
    except (KeyError, ValueError, TypeError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}
