"""Which datasets of a tree (HDF5, zarr) are images: by the conventions of HyperSpy, Velox, EMD, NeXus, or by shape.

Where a file keeps to a convention, only the datasets that it calls data count: no dark reference beside them, no
factors of a decomposition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scancontrol.micrographs.image import MAX_PIXELS, Found, likely
from scancontrol.micrographs.units import no_picture, pixel_nm

__all__ = ["images_of"]


@dataclass(frozen=True)
class _Axis:
    size: object = 0
    unit: object = ""
    name: str = ""
    navigates: bool | None = None


def images_of(tree: Any, datasets: Iterable[tuple[str, Any]], name: str, least_side: int) -> list[Found]:
    """The images among ``datasets`` (path, array) of a tree; all that answer to ``name`` if one is given.

    The pixels are in memory if there is one image only, else still in the file.
    """
    numbers = [(at, item) for at, item in datasets if item.dtype.kind in "uifcbV" and item.shape is not None]
    all_of_them = [(at, item, _convention(tree, at)) for at, item in numbers]
    if name:
        found = [_found(tree, at, item, how, name) for at, item, how in all_of_them if _answers(tree, at, how, name)]
    else:
        kept = [one for one in all_of_them if one[2]] or all_of_them
        found = likely([_found(tree, at, item, how) for at, item, how in kept], least_side)
    return [replace(one, pixels=one.pixels[()]) for one in found] if len(found) == 1 and _fits(found[0]) else found


def _fits(one: Found) -> bool:
    return int(np.prod(one.shape, dtype=np.float64)) <= MAX_PIXELS


def _answers(tree: Any, at: str, how: str, name: str) -> bool:
    return at == name or at.endswith(f"/{name}") or (how != "" and _title(tree, at, how) == name)


def _found(tree: Any, at: str, item: Any, how: str, name: str = "") -> Found:
    axes = _axes(tree, at, how, item.shape)
    sizes, units = [axis.size for axis in axes], [axis.unit for axis in axes]
    wrong = no_picture(units)
    if not wrong and len(axes) == 2 and axes[0].navigates != axes[1].navigates:
        wrong = "is a line of spectra"
    title = name or _title(tree, at, how) or at
    gone = _missing_sources(tree, item)
    if gone:
        wrong = f"takes parts of it from files that are not there, {', '.join(gone)}"
    nm = pixel_nm(sizes, units) if len(axes) == 2 else None
    said, by_columns = [f"dataset {at}"], [axis.name for axis in axes] == ["x", "y"]
    if by_columns:
        said.append("stored column by column, as the names of its axes say")
        nm = nm and nm[::-1]
    elif "MATLAB_class" in item.attrs:
        said.append("stored column by column, as MATLAB does")
        by_columns = True
    elif how == "EMD" and len(axes) == 2 and [axis.name for axis in axes] != ["y", "x"]:
        said.append("its axes are not called y and x: the first is taken to be the rows")
    return Found(title, item, tuple(item.shape), item.dtype, nm, tuple(said), wrong, by_columns)


def _missing_sources(tree: Any, item: Any) -> list[str]:
    """Files that a virtual dataset of HDF5 is made of and that are not there: it holds zeros instead."""
    if not getattr(item, "is_virtual", False):
        return []
    folder = Path(tree.filename).parent
    names = {source.file_name for source in item.virtual_sources()}
    return sorted(name for name in names if name != "." and not (folder / name).exists())


def _convention(tree: Any, at: str) -> str:
    """Whose way of storing an image this dataset follows; empty for nobody's."""
    group, _, leaf = at.rpartition("/")
    if at.startswith("Data/Image/") and leaf == "Data":
        return "Velox"
    if group.startswith("Experiments/") and group.count("/") == 1 and leaf == "data":
        return "HyperSpy"
    about = dict(tree[group].attrs) if group else {}
    if leaf == "data" and about.get("emd_group_type") is not None:
        return "EMD"
    signal = about.get("signal")
    return "NeXus" if signal is not None and _text(signal) == leaf else ""


def _title(tree: Any, at: str, how: str) -> str:
    """What a person calls it: the detector's name in Velox, the signal's in HyperSpy, the group's in EMD."""
    group = at.rpartition("/")[0]
    if how == "Velox":
        return str((_velox(tree[group]).get("BinaryResult") or {}).get("Detector") or "")
    return group.rpartition("/")[2] if how in ("HyperSpy", "EMD") else ""


def _axes(tree: Any, at: str, how: str, shape: tuple[int, ...]) -> list[_Axis]:
    """The axes of the dataset that are longer than one, as far as they are described beside it."""
    group = tree[at.rpartition("/")[0]] if "/" in at else tree
    if how == "Velox":
        about = _velox(group).get("BinaryResult") or {}
        size = about.get("PixelSize") or {}
        return [
            _Axis(size.get(axis), about.get(f"PixelUnit{key}", "m")) for axis, key in (("height", "Y"), ("width", "X"))
        ]
    long = [at for at, length in enumerate(shape) if length > 1]
    if all(f"axis-{axis}" in group for axis in long):
        about = [dict(group[f"axis-{axis}"].attrs) for axis in long]
        return [_Axis(one.get("scale"), one.get("units", ""), "", _truth(one.get("navigate"))) for one in about]
    if all(f"dim{axis + 1}" in group for axis in long):
        return [_ticked(group[f"dim{axis + 1}"]) for axis in long]
    return []


def _ticked(dim: Any) -> _Axis:
    ticks = np.asarray(dim[:2], np.float64) if dim.shape and dim.dtype.kind in "uif" else np.zeros(0)
    about = dim.attrs
    size = ticks[1] - ticks[0] if len(ticks) == 2 else None
    return _Axis(size, _text(about.get("units", "")), _text(about.get("name", "")).strip().lower())


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _velox(group: Any) -> dict[str, Any]:
    """The JSON beside an image of Velox, as its first column of bytes."""
    try:
        raw = bytes(np.asarray(group["Metadata"][:, 0], np.uint8)).rstrip(b"\x00")
        found = msgspec.json.decode(raw)
    except (KeyError, ValueError, TypeError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}
