"""What the tags of a TIFF say of its picture: of instruments, of DigitalMicrograph, ImageJ and OME."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from scancontrol.micrographs.instrument import Instrument, beside, of_tescan
from scancontrol.micrographs.units import no_picture, pixel_nm

__all__ = ["words_of"]

_TESCAN, _DM_UNITS, _DM_SCALES = 50431, (65004, 65003), (65010, 65009)  # y, x
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_ZEISS_WIDTH = 1024  # the unnamed pixel size of Zeiss is that of a picture so wide


def words_of(path: Path, file: Any, page: Any) -> Instrument:
    """The first that says anything: the instrument's own tags, a file beside the picture, a program's tags."""
    for found in (_fei(file), _zeiss(file, page), _tescan(page), beside(path), _dm(page), _olympus(file)):
        if found != Instrument():
            return found
    return _imagej(file, page) if file.is_imagej else _ome(file)


def _fei(file: Any) -> Instrument:
    fei = file.fei_metadata or {}
    scan = fei.get("Scan") or fei.get("EScan") or fei.get("IScan") or {}
    image = fei.get("Image") or {}
    size = pixel_nm((scan.get("PixelHeight"), scan.get("PixelWidth")), ("m", "m"))
    rows, cols = image.get("ResolutionY"), image.get("ResolutionX")
    shape = (int(rows), int(cols)) if rows and cols else None
    return Instrument(size, shape)


def _zeiss(file: Any, page: Any) -> Instrument:
    zeiss: dict[str, tuple[Any, ...]] = file.sem_metadata or {}
    unnamed = zeiss.get("", ())
    stated = [(side[1], side[2]) for side in (zeiss.get("ap_image_pixel_size", ()),) if len(side) >= 3]
    if len(unnamed) > 3:
        stated.append((float(unnamed[3]) * _ZEISS_WIDTH / page.imagewidth, "m"))
    stated += [(side[1], side[2]) for side in (zeiss.get("ap_pixel_size", ()),) if len(side) >= 3]
    sizes = [pixel_nm((side, side), (unit, unit)) for side, unit in stated]
    return Instrument(next((size for size in sizes if size is not None), None))


def _tescan(page: Any) -> Instrument:
    if _TESCAN not in page.tags:
        return Instrument()
    value = page.tags[_TESCAN].value
    return of_tescan(value.decode("latin-1") if isinstance(value, bytes) else str(value))


def _dm(page: Any) -> Instrument:
    if not all(tag in page.tags for tag in (*_DM_UNITS, *_DM_SCALES)):
        return Instrument()
    units = [page.tags[tag].value for tag in _DM_UNITS]
    return Instrument(pixel_nm([page.tags[tag].value for tag in _DM_SCALES], units), no_picture=no_picture(units))


def _olympus(file: Any) -> Instrument:
    about = file.sis_metadata or {}
    return Instrument(pixel_nm((about.get("pixelsizey"), about.get("pixelsizex")), ("m", "m")))


def _imagej(file: Any, page: Any) -> Instrument:
    """The scale in a unit, and the calibration of the values, which is how ImageJ keeps signed numbers."""
    about = file.imagej_metadata or {}
    unit = about.get("unit", "")
    size = None
    if _X_RESOLUTION in page.tags and _Y_RESOLUTION in page.tags:
        (x, x_per), (y, y_per) = page.tags[_X_RESOLUTION].value, page.tags[_Y_RESOLUTION].value
        size = pixel_nm((y_per / y, x_per / x), (unit, unit)) if x and y else None
    straight = about.get("cf") == 0 and "c0" in about and "c1" in about
    values = (float(about["c0"]), float(about["c1"])) if straight else None
    return Instrument(size, no_picture=no_picture((unit,)), values=None if values == (0.0, 1.0) else values)


def _ome(file: Any) -> Instrument:
    text = file.ome_metadata if file.is_ome else ""
    sizes = [re.search(rf'PhysicalSize{axis}="([^"]+)"', text or "") for axis in "YX"]
    units = [re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text or "") for axis in "YX"]
    return Instrument(
        pixel_nm([one and one[1] for one in sizes], ["µm" if unit is None else unit[1] for unit in units])
    )
