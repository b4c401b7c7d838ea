"""What instruments write beside a picture: the size of a pixel, and how much of the picture is the specimen.

JEOL: ``NAME.txt`` with ``$CM_FULL_SIZE``, and the scale bar in pixels and in words. Hitachi: ``NAME.txt`` with
``[SemImageFile]``, ``DataSize`` and ``PixelSize`` in nm. TESCAN: ``NAME-tif.hdr`` or ``NAME.hdr`` with ``PixelSizeX``
in m and the height of the data bar, ``ImageStripSize``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from scancontrol.micrographs.units import pixel_nm

__all__ = ["Instrument", "beside", "of_tescan", "without_data_bar"]

_MOST_BYTES = 1 << 20  # of a side file


@dataclass(frozen=True)
class Instrument:
    """What is known of a picture from its instrument.

    Attributes:
        pixel_nm: height and width of a pixel.
        image_shape: (rows, cols) of the specimen, from the upper left corner; the data bar lies below.
        bar_rows: the height of the data bar, where that is stated instead.
        no_picture: why it is none, in words.
        values: offset and factor of the stored values.
    """

    pixel_nm: tuple[float, float] | None = None
    image_shape: tuple[int, int] | None = None
    bar_rows: int = 0
    no_picture: str = ""
    values: tuple[float, float] | None = None


def beside(path: Path) -> Instrument:
    """What the text file beside a picture says; nothing if there is none, or one of no known kind."""
    for side in (
        path.with_suffix(".txt"),
        path.with_name(f"{path.stem}-{path.suffix[1:]}.hdr"),
        path.with_suffix(".hdr"),
    ):
        text = _text(side)
        if "$CM_FORMAT" in text or "$$SM_MICRON_BAR" in text:
            return _jeol(text)
        if "[SemImageFile]" in text or "[TemImageFile]" in text:
            return _hitachi(text)
        if "PixelSizeX" in text and "[MAIN]" in text:
            return of_tescan(text)
    return Instrument()


def without_data_bar(
    pixels: NDArray[Any], about: Instrument
) -> tuple[NDArray[Any], tuple[float, float] | None, list[str]]:
    """The specimen's rows, the pixel size where it is of this picture, and what was done in sentences."""
    rows, cols = pixels.shape[:2]
    of_rows, of_cols = about.image_shape or (rows - about.bar_rows, cols)
    if of_cols != cols or not 0 < of_rows <= rows:
        said = [f"its instrument speaks of a picture of {of_rows} x {of_cols}: no pixel size is taken from it"]
        return pixels, None, said
    said = []
    if of_rows < rows:
        said.append(f"the {rows - of_rows} rows of the instrument's data bar are cut off, as its metadata say")
    return pixels[:of_rows], about.pixel_nm, said


def of_tescan(text: str) -> Instrument:
    """From the lines of TESCAN's header, in a file or in tag 50431."""
    sizes = [_value(text, rf"^PixelSize{axis}\s*=\s*(\S+)") for axis in "YX"]
    strip = _value(text, r"^ImageStripSize\s*=\s*(\d+)")
    return Instrument(pixel_nm(sizes, ("m", "m")), bar_rows=int(strip or 0))


def _jeol(text: str) -> Instrument:
    shape = re.search(r"^\$CM_FULL_SIZE\s+(\d+)\s+(\d+)", text, re.MULTILINE)
    bar = _value(text, r"^\$\$SM_MICRON_BAR\s+(\S+)")
    marker = re.search(r"^\$\$SM_MICRON_MARKER\s+([\d.]+)\s*(\S+)", text, re.MULTILINE)
    size = None
    if bar and marker and float(bar) > 0:
        side = float(marker[1]) / float(bar)
        size = pixel_nm((side, side), (marker[2], marker[2]))
    return Instrument(size, None if shape is None else (int(shape[2]), int(shape[1])))


def _hitachi(text: str) -> Instrument:
    size = _value(text, r"^PixelSize\s*=\s*([\d.eE+-]+)")
    shape = re.search(r"^DataSize\s*=\s*(\d+)\s*x\s*(\d+)", text, re.MULTILINE)
    return Instrument(pixel_nm((size, size), ("nm", "nm")), None if shape is None else (int(shape[2]), int(shape[1])))


def _value(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else found[1]


def _text(path: Path) -> str:
    """The beginning of a text file of an instrument's Windows; empty if there is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except OSError:
        return ""
    coding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(coding)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # has a character for every byte: µ is one, and nothing else than units is read
    return text.replace("\r\n", "\n")
