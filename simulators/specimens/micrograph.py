"""Any micrograph file as a specimen: what it shows bright scatters strongly.

The image is mirrored about its edges, so that a beam which strays beyond them still meets matter.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from scancontrol.errors import InvalidInput
from simulators.specimens.scene import Film, Scene

__all__ = ["MAX_PIXELS", "micrograph_scene", "read_micrograph"]

MAX_PIXELS = 4096 * 4096

_REMEDY = "give a grayscale TIFF, PNG, WebP or NPY image"


def read_micrograph(path: Path) -> NDArray[np.float32]:
    """Read one image, scaled so that its 0.1 and 99.9 percentiles are 0 and 1, clipped there; shape (rows, cols).

    8 and 16 bit integers and floats; colours become luminance; of a stack the first image is taken.

    Raises:
        InvalidInput: the file cannot be read, is not an image, or holds no contrast.
    """
    try:
        if path.suffix.lower() == ".npy":
            raw = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")  # odd tags of a vendor's TIFF
                if image.width * image.height > MAX_PIXELS:
                    raise InvalidInput("specimen", path, f"has more than {MAX_PIXELS} pixels", "crop or bin it")
                raw = np.asarray(
                    image if image.mode in ("L", "F", "I") or image.mode.startswith("I;16") else image.convert("L")
                )
    except InvalidInput:
        raise
    except FileNotFoundError as error:
        raise InvalidInput("specimen", path, "does not exist", _REMEDY) from error
    except (OSError, ValueError, EOFError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidInput("specimen", path, f"cannot be read as an image ({error})", _REMEDY) from error
    while raw.ndim > 2 and raw.shape[-1] not in (3, 4):
        raw = raw[0]
    if raw.ndim == 3:
        raw = raw[..., :3].mean(axis=-1)
    if raw.ndim != 2 or min(raw.shape) < 16 or raw.size > MAX_PIXELS or raw.dtype.kind not in "uifb":
        raise InvalidInput(
            "specimen", path, f"has shape {raw.shape} and type {raw.dtype}", f"{_REMEDY} of 16 to 4096 pixels a side"
        )
    values = np.array(raw, np.float32)
    if not np.isfinite(values).all():
        raise InvalidInput("specimen", path, "holds values that are not finite", "replace them")
    low, high = np.percentile(values, (0.1, 99.9))
    if not high > low:
        raise InvalidInput("specimen", path, f"holds no contrast: its percentiles are {low:g} and {high:g}", _REMEDY)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)


def micrograph_scene(
    image: NDArray[np.float32], width_nm: float, darkest: float = 0.02, brightest: float = 0.3
) -> Scene:
    """A scene ``width_nm`` wide; HAADF fractions run from ``darkest`` to ``brightest`` as ``image`` from 0 to 1."""
    image = image[: image.shape[0] & ~1, : image.shape[1] & ~1]  # even sides put its middle between four nodes
    depth = -np.log1p(-(darkest + (brightest - darkest) * image)).astype(np.float32)
    mirrored = np.concatenate((depth, depth[::-1]))
    mirrored = np.concatenate((mirrored, mirrored[:, ::-1]), axis=1)
    rows, cols = image.shape
    mirrored = np.roll(mirrored, (rows // 2, cols // 2), axis=(0, 1))  # the image comes to lie in the scene's middle
    pixel_nm = width_nm / cols
    # low = 2.5 × high: total scattering out of the bright-field disc, as a middling atomic number has it
    film = Film(mirrored, 1.0, 2.5)
    extent_nm = (2 * rows * pixel_nm, 2 * cols * pixel_nm)
    return Scene(extent_nm, (2 * rows, 2 * cols), films=(film,), offset=0.5, seen=True)
