"""Both faces of the generator beside truth and best fill, on simulated specimens whose atoms nobody trained on.

python -m benchmarks.offline.faces --out docs/images/faces.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import shipped
from restore.restorer import Restorer
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from simulators.figures.contact_sheet import image_of
from simulators.specimens.library import Crystal
from simulators.specimens.lowmag import Particles

_SIDE, _CROP = 512, 256
SCENES: tuple[tuple[str, Any, float, float, Any], ...] = (
    ("Pt on carbon, spiral 1/20", Particles(seed=77), 20.0, 1500.0, Archimedean(coverage=CoverageGoal(value=0.05))),
    (
        "SrTiO₃, jittered grid 1/20",
        Crystal(structure="srtio3", rotation_deg=20.0, seed=5),
        6.0,
        900.0,
        JitteredGrid(coverage=CoverageGoal(value=0.05), seed=3),
    ),
)
"""Title, specimen, field of view in nm, electrons per pixel at full scattering, pattern."""


def _restored(truth: NDArray[np.float32], pattern: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
    path = expand(PathRecipe(pattern=pattern, shape=truth.shape, fov_nm=float(_SIDE), dwell_us=1.0))
    restorers: dict[str, Restorer] = {
        "spectral (classical)": FillRestorer("spectral"),
        "faithful (lite)": GeneratorRestorer.load(shipped("lite")),
        "realistic (lite-realistic)": GeneratorRestorer.load(shipped("lite-realistic")),
    }
    found = {}
    partial = np.full(truth.size, np.nan, np.float32)
    for name, restorer in restorers.items():
        engine = Engine(restorer)
        index = engine.register(path).geometry.index.numpy()
        found[name] = engine.restore(truth.ravel()[index], path.path_id)
        partial[index] = truth.ravel()[index]
    return partial.reshape(truth.shape), found


def draw(out: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(15.6, 5.6), layout="constrained")
    rows = figure.subplots(len(SCENES), 6)
    part = (slice((_SIDE - _CROP) // 2, (_SIDE + _CROP) // 2),) * 2
    for axes, (title, specimen, fov_nm, electrons, pattern) in zip(rows, SCENES, strict=True):
        truth = image_of(specimen, "HAADF", fov_nm, electrons, _SIDE)
        partial, found = _restored(truth, pattern)
        low, high = np.percentile(truth, (0.3, 99.8))
        shown = {title: truth, "samples": np.where(np.isnan(partial), low, partial)}
        shown |= {name: each.estimate.numpy() for name, each in found.items()}
        for place, (name, image) in zip(axes, shown.items(), strict=False):
            place.imshow(image[part], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            place.set_title(name, fontsize=9, loc="left")
        width = found["faithful (lite)"].interval
        drawn = axes[-1].imshow(100 * width.numpy()[part] / (high - low), cmap="magma", vmin=0)
        axes[-1].set_title("half-width of the 90 % interval", fontsize=9, loc="left")
        figure.colorbar(drawn, ax=axes[-1], label="% of range", fraction=0.046)
        for place in axes:
            place.set_axis_off()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/faces.png"))
    torch.set_num_threads(2)
    draw(parser.parse_args().out)
