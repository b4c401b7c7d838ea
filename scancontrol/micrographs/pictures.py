"""PNG, WebP, JPEG and the like: what pictures are kept in."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import MAX_PIXELS, Found
from scancontrol.micrographs.instrument import beside, without_data_bar

__all__ = ["SUFFIXES", "images_in"]

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp")

_GREY = ("1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_MODES = (*_GREY, "P", "RGB", "RGBA", "RGBX")
_ORIENTATION = 274  # EXIF
_PNG = b"\x89PNG\r\n\x1a\n"


def images_in(path: Path) -> list[Found]:
    """The one picture of the file.

    Raises:
        InvalidInput: it cannot be read, or not without losing some of its bits.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with warnings.catch_warnings(), Pillow.open(path) as opened:
            warnings.simplefilter("ignore")
            if opened.width * opened.height > MAX_PIXELS:
                raise InvalidInput("image", path, f"has more than {MAX_PIXELS} pixels", "crop or bin it")
            frames = int(getattr(opened, "n_frames", 1))
            if frames > 1:
                raise InvalidInput("image", path, f"is a film of {frames} pictures", "store one of them")
            if opened.mode not in _MODES:
                raise InvalidInput("image", path, f"holds colours of the kind {opened.mode}", "store it in grey or RGB")
            said = _about(path, opened.format or "", opened.mode)
            turned = opened.getexif().get(_ORIENTATION, 1)
            pixels = np.asarray(ImageOps.exif_transpose(opened))
            if turned != 1:
                said.append("turned as its orientation tag says")
            if opened.mode == "LA":
                pixels = pixels[..., 0]
    except InvalidInput:
        raise
    except Exception as error:  # every plug-in of Pillow fails in its own way
        raise InvalidInput(
            "image", path, f"cannot be read ({str(error)[:200]})", "replace or remove the file"
        ) from error
    shape = pixels.shape
    pixels, pixel_nm, more = without_data_bar(pixels, beside(path))
    return [Found("", pixels, shape, pixels.dtype, pixel_nm, (*said, *more))]


def _about(path: Path, format_name: str, mode: str) -> list[str]:
    """What is to be said of the picture, in sentences.

    Raises:
        InvalidInput: it has 16 bits a colour, of which Pillow would give 8.
    """
    said = []
    if format_name == "PNG":
        with path.open("rb") as file:
            header = file.read(26)
        bits, colours = (header[24], header[25]) if header[:8] == _PNG else (8, 0)
        if bits == 16 and colours != 0:
            raise InvalidInput("image", path, "is a PNG of 16 bits a colour", "store it in grey, or as TIFF")
        if bits in (2, 4) and mode == "L":
            said.append(f"{bits} bits stretched to 0 to 255")
    if format_name == "JPEG":
        said.append("a JPEG: its packing changed the values that were measured")
    if mode == "P":
        said.append("a picture with a palette: its indices are taken, not its colours")
    if mode == "LA":
        said.append("its transparency is left out")
    return said
