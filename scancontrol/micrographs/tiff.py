"""TIFF as instruments and programs write it: which page is meant, and what its tags say of its values."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import MAX_PIXELS, Found
from scancontrol.micrographs.instrument import without_data_bar
from scancontrol.micrographs.tiff_metadata import words_of

__all__ = ["images_in"]

_TURNS = {2: "mirrored left to right", 3: "turned by 180°", 4: "mirrored top to bottom", 5: "transposed"}
_TURNS |= {6: "turned by 90°", 7: "transposed about the other diagonal", 8: "turned by 270°"}
_MINISWHITE, _PALETTE, _YCBCR, _JPEG = 0, 3, 6, (6, 7)
_NO_GREY = {4: "a transparency mask", 5: "inks (CMYK)", 8: "colours of CIE Lab", 9: "colours of ICC Lab"}
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType


def images_in(path: Path, name: str) -> list[Found]:
    """The images of a TIFF file that may be meant: all pages if one is named, else the measurements among them.

    Raises:
        InvalidInput: the file is damaged, or packed in a way that is not understood here.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # odd tags of a vendor's file
    try:
        with tifffile.TiffFile(path) as file:
            pages = _pages(file)
            if not pages:
                return []
            keep = list(range(len(pages))) if name else _measurements(pages, file.is_ome)
            said: tuple[str, ...] = ()
            if len(keep) == 1 < len(pages):
                said = (f"page {keep[0]} of {len(pages)}: the others are smaller, or pictures of it",)
            if len(pages) == 1 and file.series and file.series[0].size > pages[0].size:
                raise InvalidInput("image", path, f"is a stack {file.series[0].shape}", "store one image of it")
            read = name or len(keep) == 1
            return [_page(path, file, pages[at], str(at), said) if read else _listed(pages[at], at) for at in keep]
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


def _pages(file: Any) -> list[Any]:
    """The pages, and those below a page that are no smaller than it: a measurement behind its thumbnail."""
    pages = []
    for page in file.pages:
        whole = page.aspage()
        pages.append(whole)
        if whole.subifds:
            below = [one.aspage() for one in whole.pages]
            pages += [one for one in below if one.imagelength * one.imagewidth > whole.imagelength * whole.imagewidth]
    return pages


def _measurements(pages: list[Any], is_ome: bool) -> list[int]:
    """Which pages are no thumbnails, and no 8-bit or coloured pictures of what another page measured.

    OME-TIFF has no such pictures: each of its pages is data.
    """
    keep = [at for at, page in enumerate(pages) if not int(page.subfiletype) & (_REDUCED | _MASK)] or [0]
    largest = max(pages[at].imagelength * pages[at].imagewidth for at in keep)
    keep = [at for at in keep if pages[at].imagelength * pages[at].imagewidth > largest / 3]
    if is_ome:
        return keep
    deep = [at for at in keep if int(pages[at].samplesperpixel) == 1 and pages[at].bitspersample > 8]
    return deep if deep and len(deep) < len(keep) else keep


def _listed(page: Any, at: int) -> Found:
    return Found(str(at), None, page.shape, np.dtype(page.dtype))


def _page(path: Path, file: Any, page: Any, name: str, said: tuple[str, ...]) -> Found:
    photometric = int(page.photometric)
    if page.size > MAX_PIXELS or page.dtype is None:
        dtype = np.dtype(page.dtype or "V1")
        return Found(name, None, page.shape, dtype, None, said, "" if page.dtype else "holds bits of no known type")
    if photometric in _NO_GREY or (photometric == _YCBCR and int(page.compression) not in _JPEG):
        holds = _NO_GREY.get(photometric, "colours of YCbCr")
        return Found(name, None, page.shape, page.dtype, None, said, f"holds {holds}")
    pixels = _sampled(path, page)
    stored, notes = (pixels.shape, pixels.dtype), list(said)
    if page.samplesperpixel == 2 and page.extrasamples and int(page.extrasamples[0]) in (1, 2):
        pixels = pixels[..., 0] if int(page.planarconfig) == 1 else pixels[0]
        notes.append("its transparency is left out")
    elif int(page.planarconfig) == 2 and pixels.ndim == 3 and pixels.shape[0] in (3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if photometric == _MINISWHITE:
        pixels = _turned_over(pixels, int(page.bitspersample))
        notes.append("the file says that its smallest value is white: turned over, so that large is bright")
    elif photometric == _PALETTE:
        notes.append("a picture with a palette: its indices are taken, not its colours")
    if int(page.compression) in _JPEG:
        notes.append("packed as JPEG, which changed the values that were measured")
    instrument = words_of(path, file, page)
    if instrument.values is not None:
        offset, factor = instrument.values
        pixels = offset + factor * pixels.astype(np.float64)
        notes.append(f"values are {offset:g} + {factor:g} times the stored ones, as ImageJ says")
    pixels, pixel_nm, more = without_data_bar(pixels, instrument)
    turn = int(page.tags[274].value) if 274 in page.tags else 1
    if turn in _TURNS:
        pixels = _turned(pixels, turn)
        pixel_nm = pixel_nm[::-1] if pixel_nm is not None and turn >= 5 else pixel_nm
        more.append(f"{_TURNS[turn]}, as its orientation tag says")
    return Found(name, pixels, stored[0], stored[1], pixel_nm, (*notes, *more), instrument.no_picture)


def _sampled(path: Path, page: Any) -> NDArray[Any]:
    """The values of a page, all of which have to be in the file: tifffile gives zeros for what is cut off."""
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if ends and max(ends) > path.stat().st_size:
        missing = max(ends) - path.stat().st_size
        raise InvalidInput("image", path, f"is cut off: {missing} bytes of it are missing", "copy the file again")
    return np.asarray(page.asarray())


def _turned_over(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    if bits == 1:
        return np.asarray(np.logical_not(pixels))
    if pixels.dtype.kind == "f":
        return np.asarray(pixels.max() - pixels)
    largest = (1 << bits) - 1 if pixels.dtype.kind == "u" else -1  # of a number with a sign, the bits turned over
    return np.asarray(pixels.dtype.type(largest) - pixels)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
