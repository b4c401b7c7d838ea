"""TIFF as instruments and programs write it: pages, tags and what the instrument says of its own picture."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import Found

__all__ = ["images_in"]

_NM = {"m": 1e9, "cm": 1e7, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "nm": 1.0, "pm": 1e-3, "å": 0.1}
_NM |= {"a": 0.1, "angstrom": 0.1, "\\u00b5m": 1e3}
_TURNS = {2: "mirrored left to right", 3: "turned by 180°", 4: "mirrored top to bottom", 5: "transposed"}
_TURNS |= {6: "turned by 90°", 7: "transposed about the other diagonal", 8: "turned by 270°"}


def images_in(path: Path, name: str) -> list[Found]:
    """The images of a TIFF file that may be meant: all pages if one is named, else the measurements among them.

    Raises:
        InvalidInput: the file is damaged, or packed in a way that is not understood here.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # odd tags of a vendor's file
    try:
        with tifffile.TiffFile(path) as file:
            pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage) or page.keyframe is not None]
            if not pages:
                return []
            keep = list(range(len(pages))) if name else _measurements(pages)
            said: tuple[str, ...] = ()
            if len(keep) == 1 < len(pages):
                said = (f"page {keep[0]} of {len(pages)}: the others are smaller, or pictures of it",)
            if len(pages) == 1 and file.series and file.series[0].size > pages[0].size:
                raise InvalidInput("image", path, f"is a stack {file.series[0].shape}", "store one image of it")
            size = _pixel_nm(file)
            return [_page(file, pages[at], str(at), size, said) for at in keep]
    except InvalidInput:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are tags
        text = str(error)
        if "imagecodecs" in text:
            remedy = "pip install 'scancontrol[readers]'"
            raise InvalidInput("image", path, f"is packed in a rare way ({text})", remedy) from error
        raise InvalidInput(
            "image", path, f"cannot be read as TIFF ({text[:200]})", "replace or remove the file"
        ) from error


def _measurements(pages: list[Any]) -> list[int]:
    """Which pages are no thumbnails, and no 8-bit or coloured pictures of what another page measured."""
    keep = [at for at, page in enumerate(pages) if not int(getattr(page, "subfiletype", 0)) & 1] or [0]
    largest = max(pages[at].imagelength * pages[at].imagewidth for at in keep)
    keep = [at for at in keep if pages[at].imagelength * pages[at].imagewidth > largest / 3]
    deep = [at for at in keep if _is_grey(pages[at]) and pages[at].bitspersample > 8]
    return deep if deep and len(deep) < len(keep) else keep


def _is_grey(page: Any) -> bool:
    return int(page.samplesperpixel) == 1


def _page(file: Any, page: Any, name: str, pixel_nm: tuple[float, float] | None, said: tuple[str, ...]) -> Found:
    pixels = np.asarray(page.asarray())
    stored, notes = (pixels.shape, pixels.dtype), list(said)
    if getattr(page, "planarconfig", 1) == 2 and pixels.ndim == 3 and pixels.shape[0] in (3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if int(page.photometric) == 0:
        if int(page.bitspersample) == 1:
            pixels = np.logical_not(pixels)
        else:  # of a type without sign, the complement is the largest value less this one
            pixels = ~pixels if pixels.dtype.kind in "ui" else pixels.max() - pixels
        notes.append("the file says that its smallest value is white: turned over, so that large is bright")
    elif int(page.photometric) == 3:
        notes.append("a picture with a palette: its indices are taken, not its colours")
    cut = _data_bar_rows(file, pixels.shape[0])
    if cut:
        pixels = pixels[: pixels.shape[0] - cut]
        notes.append(f"the {cut} rows of the instrument's data bar are cut off, as its metadata say")
    turn = int(page.tags[274].value) if 274 in page.tags else 1
    if turn in _TURNS:
        pixels = _turned(pixels, turn)
        pixel_nm = pixel_nm[::-1] if pixel_nm is not None and turn >= 5 else pixel_nm
        notes.append(f"{_TURNS[turn]}, as its orientation tag says")
    return Found(name, pixels, stored[0], stored[1], pixel_nm, tuple(notes))


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _data_bar_rows(file: Any, rows: int) -> int:
    fei = file.fei_metadata or {}
    of_image = int((fei.get("Image") or {}).get("ResolutionY") or 0)
    return rows - of_image if 0 < of_image < rows else 0


def _pixel_nm(file: Any) -> tuple[float, float] | None:
    """Height and width of a pixel, by the instrument's own words, or ImageJ's, or OME's."""
    fei, zeiss, imagej = file.fei_metadata or {}, file.sem_metadata or {}, file.imagej_metadata or {}
    scan = fei.get("Scan") or fei.get("EScan") or {}
    if scan.get("PixelWidth") and scan.get("PixelHeight"):
        return _sound(float(scan["PixelHeight"]) * 1e9, float(scan["PixelWidth"]) * 1e9)
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if key in zeiss and len(zeiss[key]) >= 3:
            size = float(zeiss[key][1]) * _NM.get(str(zeiss[key][2]).lower(), math.nan)
            return _sound(size, size)
    tags = file.pages[0].tags
    unit = str(imagej.get("unit", "")).lower()
    if unit in _NM and 282 in tags and 283 in tags:
        (x, x_per), (y, y_per) = tags[282].value, tags[283].value
        return _sound(y_per / y * _NM[unit], x_per / x * _NM[unit]) if x and y else None
    if file.is_ome and file.ome_metadata:
        return _sound(_ome_nm(file.ome_metadata, "Y"), _ome_nm(file.ome_metadata, "X"))
    return None


def _ome_nm(metadata: str, axis: str) -> float:
    size = re.search(rf'PhysicalSize{axis}="([^"]+)"', metadata)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', metadata)
    if size is None:
        return math.nan
    return float(size[1]) * _NM.get("µm" if unit is None else unit[1].lower(), math.nan)


def _sound(y_nm: float, x_nm: float) -> tuple[float, float] | None:
    return (y_nm, x_nm) if all(math.isfinite(size) and 1e-4 < size < 1e9 for size in (y_nm, x_nm)) else None
