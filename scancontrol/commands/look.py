"""``scancontrol look FILE…``: what would be read of micrographs, and what would be done to them on the way.

Exit code 0: every file is read. 1: some are refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs import Image, find_images, is_store, read_image

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("look", help="say what would be read of micrographs", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a file, FILE::NAME in it, or a folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe each file in a few lines."""
    refused = 0
    for given in args.files:
        files, passed_over = find_images(given) if given.is_dir() and not is_store(given) else ([given], 0)
        for file in files:
            try:
                print(f"{file}\n{described(read_image(file))}")
            except InvalidInput as error:
                refused += 1
                print(f"refused  {error}", file=sys.stderr)
        if passed_over:
            print(f"{given}: {passed_over} other files passed over, hidden or of no kind that is read")
    return 1 if refused else 0


def described(image: Image) -> str:
    """What is read of one image, a fact to a line."""
    rows, cols = image.pixels.shape
    low, middle, high = np.percentile(image.pixels, (0.1, 50, 99.9))
    lines = [
        f"stored as {image.stored_as}, read as {rows} x {cols}",
        f"values    {low:.5g} to {high:.5g} (0.1 to 99.9 %), median {middle:.5g}, largest {image.pixels.max():.5g}",
    ]
    if image.pixel_nm is not None:
        y, x = image.pixel_nm
        lines.append(f"pixel     {x:.5g} nm" + ("" if abs(y / x - 1) < 1e-6 else f" wide, {y:.5g} nm high"))
    return "\n".join(f"  {line}" for line in [*lines, *(f"note      {text}" for text in image.said)])
