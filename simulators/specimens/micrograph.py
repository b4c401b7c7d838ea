"""Any micrograph file as a specimen: what it shows bright scatters strongly.

The image is mirrored about its edges, so that a beam which strays beyond them still meets matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.micrographs import read_image
from simulators.specimens.scene import Film, Scene

__all__ = ["MAX_PIXELS", "micrograph_scene", "read_micrograph"]

MAX_PIXELS = 4096 * 4096


def read_micrograph(path: Path) -> NDArray[np.float32]:
    """Read one image, scaled so that its 0.1 and 99.9 percentiles are 0 and 1, clipped there; shape (rows, cols).

    Raises:
        InvalidInput: the file cannot be read as :func:`scancontrol.micrographs.read_image` says, has too many pixels,
            or holds no contrast but that of single pixels.
    """
    pixels = read_image(path).pixels
    if pixels.size > MAX_PIXELS:
        raise InvalidInput("specimen", path, f"has more than {MAX_PIXELS} pixels", "crop or bin it")
    low, high = np.percentile(pixels, (0.1, 99.9))
    if not high > low:
        raise InvalidInput(
            "specimen", path, f"holds no contrast: its percentiles are {low:g} and {high:g}", "take another"
        )
    return np.asarray(np.clip((pixels - low) / (high - low), 0, 1), np.float32)


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
