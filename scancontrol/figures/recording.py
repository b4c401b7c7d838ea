"""Pictures out of a recording: calibrated TIFF for measuring, PNG for showing.

TIFF holds the numbers (float32, sample units) and the pixel size in microns, the one unit that Fiji and
HyperSpy both read. PNG is 8-bit between stated percentiles, with a scale bar; whatever was estimated and
not measured says so in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, TiffImagePlugin

from scancontrol.errors import InvalidInput
from scancontrol.paths import expand, partial_frame
from scancontrol.paths.known import known_pixels, reach_of
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.hyperspy import describe
from scancontrol.recording.planned import plain_name
from scancontrol.recording.reader import RecordingReader
from scancontrol.units import length_label, scale_bar_nm

__all__ = ["Picture", "export", "partial_of", "pictures_of", "write_png", "write_tiff"]

_PERCENTILES = (0.1, 99.9)
_SMALLEST_PNG_PX = 512
_UNKNOWN, _OUTLINE = (22, 35, 58), (120, 170, 255)  # blues, so that dark specimen and none are never confused


@dataclass(frozen=True)
class Picture:
    """One image (rows, cols) float32 and what has to be known with it."""

    kind: Literal["partial", "restoration", "interval", "strain"]
    frame: int
    image: NDArray[np.float32]
    pixel_size_nm: float
    caption: str  # for the picture, two short lines
    description: str  # for the file, complete
    about: tuple[tuple[str, str], ...] = ()  # what it is of: (what, value)
    touched: NDArray[np.bool_] | None = None  # which pixels were measured, where that is not all of them
    known: NDArray[np.bool_] | None = None  # where the samples tell of the specimen, where that is not everywhere
    outline: NDArray[np.float64] | None = None  # corners (4, 2) of the scan's region in fractions, likewise


def partial_of(
    recording: RecordingReader, frame: int, channel: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """The gridded samples (rows, cols) of a detector (the first), the dwell in each pixel, and how many were left out.

    They are gridded from the raw samples; those that the disk damaged are left out.
    """
    read, path = recording.read_samples(frame), expand(recording.recipe(frame))
    values = read.values[recording.header.channels.index(channel_of(recording.header, channel))]
    sound, chunk = read.sound, path.chunk(0, read.values.shape[1])
    places = path.on_specimen(chunk.positions)[sound]
    mean, weight = partial_frame(places, values[sound], path.shape, dwell_us=chunk.dwell_us[sound])
    return mean, weight, int((~sound).sum())


def pictures_of(recording: RecordingReader, frame: int, channel: str | None = None) -> list[Picture]:
    """What there is to show of a frame and a detector: always the partial frame, and its restoration if one is stored.

    Raises:
        InvalidInput: the detector is not recorded.
    """
    header, entry = recording.header, recording.frame(frame)
    name = channel_of(header, channel)
    pixel_nm = header.pixel_size_nm
    common = (
        f"{header.name}, frame {frame}, {name}, dwell {header.dwell_us:g} us, {entry.received} of {entry.count} samples"
    )
    about = tuple(describe(header, recording.capabilities))
    mean, weight, left_out = partial_of(recording, frame, name)
    touched = weight > 0
    outline = recording.recipe(frame).placement.outline()
    if left_out:
        common += f", {left_out} left out because the disk damaged them"
    percent = 100 * float(touched.mean())
    pictures = [
        Picture(
            "partial",
            frame,
            mean,
            pixel_nm,
            f"partial scan\n{percent:.3g} % of pixels",
            f"{common}; partial frame: pixels that the beam did not touch are 0",
            about,
            touched,
            outline=outline,
        )
    ]
    stored = recording.restoration(frame, name)
    if stored is None:
        return pictures
    by = stored.made_by
    known = known_pixels(reach_of(touched), stored.interval)
    share = 100 * float(known.mean())
    if share < 100:
        common += f", of {share:.3g} % of the field; no picture (NaN) where samples do not reach"
    weights = f", weights {by.weights_hash[:12]}" if by.weights_hash else ""
    origin = f"{by.method} ({by.face}){weights}"
    samples = by.samples_used or entry.received
    withheld = "" if by.withheld_rmse is None else f", RMSE on withheld samples {by.withheld_rmse:.4g} counts"
    if before := by.frames - 1 - by.later_frames:
        origin += f", with the samples of {before} frames before, the oldest {by.age_frames} frames ago"
    if by.later_frames:
        origin += f", with the samples of {by.later_frames} frames after"
    lattice = ""
    if by.lattice_share > 0:
        lattice = f", {100 * by.lattice_share:.0f} % lattice"
        origin += f", with {100 * by.lattice_share:.0f} % of a lattice that these samples prove"
    if by.expected_rmse is not None:
        withheld += f", of every pixel expected {by.expected_rmse:.4g}"
    pictures.append(
        Picture(
            "restoration",
            frame,
            stored.estimate,
            pixel_nm,
            f"RESTORED: {by.method}{lattice}\nfrom {percent:.3g} % of pixels",
            f"{common}; RESTORED, not measured: {origin} from {samples} samples{withheld}",
            about,
            known=known,
            outline=outline,
        )
    )
    if stored.interval is not None:
        pictures.append(
            Picture(
                "interval",
                frame,
                stored.interval,
                pixel_nm,
                f"half-width of the 90 % interval\nRESTORED: {by.method}",
                f"{common}; half-width of the 90 % interval of the restoration by {origin}",
                about,
                known=known,
                outline=outline,
            )
        )
    return pictures


def write_tiff(picture: Picture, path: Path) -> None:
    """Float32 TIFF, calibrated as ImageJ writes it: pixels per micron, ``unit=micron``; NaN where nothing is known."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    per_micron = 1000 / picture.pixel_size_nm
    image = picture.image if picture.known is None else np.where(picture.known, picture.image, np.float32(np.nan))
    low, high = (float(extreme(image)) for extreme in (np.nanmin, np.nanmax))
    words = f"ImageJ=1.54f\nunit=micron\nmin={low}\nmax={high}\n" + "".join(
        f"{name}={value}\n" for name, value in (("label", picture.description), *picture.about)
    )
    tags[270] = words.encode("ascii", "replace").decode()
    for tag in (282, 283):
        tags[tag] = TiffImagePlugin.IFDRational(*_rational(per_micron))
    tags[296] = 1  # no absolute unit: the description names it
    Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).save(path, format="TIFF", tiffinfo=tags)


def _rational(value: float) -> tuple[int, int]:
    """Numerator and denominator below 2³², as near to ``value`` as those allow."""
    denominator = 10 ** max(0, min(9, 9 - math.ceil(math.log10(value))))
    return round(value * denominator), denominator


def write_png(picture: Picture, path: Path) -> None:
    """8-bit PNG between the 0.1 and 99.9 percentiles of what was measured, with scale bar and caption.

    Where nothing is known there is no picture but blue, and the outline of the scan's region.
    """
    shown, low, high = _eight_bit(picture)
    factor = max(1, math.ceil(_SMALLEST_PNG_PX / min(shown.size)))
    shown = shown.resize((shown.width * factor, shown.height * factor), Image.Resampling.NEAREST)
    if picture.outline is not None:
        _draw_outline(shown, picture.outline, factor)
    caption = f"{picture.caption}; {low:.4g} to {high:.4g} counts"
    _draw(shown, picture.pixel_size_nm / factor, caption, warn=picture.kind != "partial")
    if picture.kind == "interval":
        _draw_colours(shown)
    shown.save(path, format="PNG")


def _eight_bit(picture: Picture) -> tuple[Image.Image, float, float]:
    image, touched = picture.image, picture.touched
    shown = touched if touched is not None else picture.known
    measured = image[shown] if shown is not None and shown.any() else image
    low, high = (float(value) for value in np.percentile(measured, _PERCENTILES))
    if picture.kind == "interval":
        low = 0.0
    scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    if picture.kind == "interval":
        from matplotlib import colormaps  # perceptually even, and unlike the grey of intensities

        coloured = (colormaps["viridis"](scaled)[..., :3] * 255).astype(np.uint8)
    else:
        if touched is not None:
            scaled = np.where(touched, scaled, 0)
        coloured = np.repeat((scaled * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    if picture.known is not None:
        coloured = np.where(picture.known[..., None], coloured, np.array(_UNKNOWN, dtype=np.uint8))
    return Image.fromarray(coloured), low, high


def _draw(image: Image.Image, pixel_nm: float, caption: str, *, warn: bool) -> None:
    """Scale bar at the lower left, caption at the upper left; amber where the pixels are an estimate."""
    side = min(image.size)
    size = max(12, round(side / 32))
    margin = size
    brush = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(size)
    while size > 9 and max(brush.textlength(line, font) for line in caption.split("\n")) > image.width - 2 * margin:
        size -= 1
        font = ImageFont.load_default(size)
    _label(brush, (margin, margin), caption, font, (255, 196, 64) if warn else (255, 255, 255))
    size = max(12, round(side / 28))
    font = ImageFont.load_default(size)
    length_nm = scale_bar_nm(image.width * pixel_nm)
    width, thick = length_nm / pixel_nm, max(4, side // 100)
    left, bottom = margin, image.height - margin
    name = length_label(length_nm)
    text_width = brush.textlength(name, font)
    box = (left - thick, bottom - thick - 1.6 * size, left + max(width, text_width) + thick, bottom + thick)
    brush.rectangle(box, fill=(0, 0, 0, 150))
    brush.rectangle((left, bottom - thick, left + width, bottom), fill=(255, 255, 255))
    brush.text((left + max(0, width - text_width) / 2, bottom - thick - 1.4 * size), name, (255, 255, 255), font)


def _draw_outline(image: Image.Image, corners: NDArray[np.float64], pixel: int) -> None:
    """The scan's region, so far outside of its own pixels, ``pixel`` wide each, that it covers none of them."""
    width = max(1, min(image.size) // 300)
    places = corners * (image.height, image.width)
    outward = places - places.mean(axis=0)
    places += (pixel + width) * np.sqrt(2) * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    points = [(float(x), float(y)) for y, x in places]
    ImageDraw.Draw(image).line([*points, points[0]], fill=_OUTLINE, width=width)


def _draw_colours(image: Image.Image) -> None:
    """The colours from 0 to the largest value that the caption names, at the lower right."""
    from matplotlib import colormaps

    side = min(image.size)
    ramp = (colormaps["viridis"](np.linspace(0, 1, side // 3))[None, :, :3] * 255).astype(np.uint8)
    bar = Image.fromarray(np.repeat(ramp, max(6, side // 50), axis=0))
    size = max(12, round(side / 28))
    left, top = image.width - bar.width - 2 * size, image.height - bar.height - size
    brush, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(size)
    brush.rectangle((left - 6, top - 1.6 * size, left + bar.width + 6, top + bar.height + 6), fill=(0, 0, 0, 150))
    brush.text((left, top - 1.4 * size), "0", (255, 255, 255), font)
    brush.text((left + bar.width, top - 1.4 * size), "max", (255, 255, 255), font, anchor="ra")
    image.paste(bar, (left, top))


def _label(
    brush: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
) -> None:
    left, top, right, bottom = brush.textbbox(at, text, font)
    brush.rectangle((left - 4, top - 4, right + 4, bottom + 4), fill=(0, 0, 0, 150))
    brush.text(at, text, colour, font)


def export(
    recording: RecordingReader,
    folder: Path,
    format_: Literal["tiff", "png"],
    frames: list[int] | None = None,
    kinds: tuple[str, ...] = ("partial", "restoration", "interval"),
    channels: tuple[str, ...] | None = None,
    after_frame: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write every picture of ``frames`` (all by default) into ``folder``; returns the files.

    ``channels`` are detectors (the first by default); the files of another than the first carry its name.
    ``after_frame`` is called when those of a frame are written.

    Raises:
        InvalidInput: the folder cannot be written or there is nothing to write.
    """
    known = recording.header.channels
    plain = {channel: plain_name(channel) or "detector" for channel in known}
    if len(set(plain.values())) < len(known):  # two that differ only in what no file's name can hold
        plain = {channel: f"{name}_{at}" for at, (channel, name) in enumerate(plain.items())}
    chosen = [frame.frame for frame in recording.frames] if frames is None else frames
    written = []
    write, suffix = (write_tiff, "tif") if format_ == "tiff" else (write_png, "png")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for frame in chosen:
            for channel in channels or known[:1]:
                of = "" if channel == known[0] else f"{plain[channel]}_"
                for picture in pictures_of(recording, frame, channel):
                    if picture.kind in kinds:
                        path = folder / f"frame_{frame:06d}_{of}{picture.kind}.{suffix}"
                        write(picture, path)
                        written.append(path)
            after_frame()
    except OSError as error:
        raise InvalidInput(
            "out", folder, f"cannot be written ({error.strerror or error})", "give a folder that can, with room in it"
        ) from error
    if not written:
        raise InvalidInput(
            "pictures", ", ".join(kinds), f"are not in {recording.path}", "choose others; 'partial' is always there"
        )
    return written
