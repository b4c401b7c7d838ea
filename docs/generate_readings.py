"""Draw ``docs/images/readings.png``: what faults of the readings do to a picture, and what the software says."""

from __future__ import annotations

import textwrap
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from restore.engine import Engine
from restore.evaluation.faults import FAULTS, restore_spoiled
from restore.evaluation.subjects import read_specimens
from restore.generator.restorer import GeneratorRestorer

_SPECIMEN = "two_species-16px"
_SHOWN = (
    ("none", "jittered_grid"),
    ("1 % spikes of ten times the range, both signs", "jittered_grid"),
    ("30 % lost, as zeros, 40 in a row", "jittered_grid"),
    ("readings 3 samples late", "jittered_grid"),
    ("afterglow, τ = 3 samples", "jittered_grid"),
    ("afterglow, τ = 3 samples, not stated", "jittered_grid"),
    ("baseline drifts by 30 % over the frame", "spiral"),
    ("baseline drifts by 30 % over the frame", "crossed_spiral"),
    ("mains, 5 %, 50 Hz at 1 µs", "crossed_spiral"),
    ("charging halo of the whole range", "jittered_grid"),
    ("1 electrons a sample", "jittered_grid"),
)
_SIZE, _CUT, _COVERAGE = 256, 160, 1 / 20


def draw(target: Path) -> None:
    """Truth, readings, and the restoration without and with the model of the readings, a row for each fault."""
    subject = read_specimens([_SPECIMEN], (_SIZE, _SIZE), 1, None)[_SPECIMEN][0]
    restorer = GeneratorRestorer.load(precision="single")
    engines = [Engine(restorer, model=model) for model in (False, True)]
    named = {fault.name: fault for fault in FAULTS}
    figure = Figure(figsize=(13, 2.45 * len(_SHOWN)), layout="constrained")
    rows = figure.subplots(len(_SHOWN), 5, width_ratios=(1, 1, 1, 1, 1.35))
    for row, (name, pattern) in zip(rows, _SHOWN, strict=True):
        off, on = (restore_spoiled(engine, pattern, _COVERAGE, subject, named[name]) for engine in engines)
        partial = np.full(_SIZE * _SIZE, np.nan)
        partial[off.geometry.index.numpy()] = on.samples
        pictures = (on.truth, partial.reshape(_SIZE, _SIZE), off.found.estimate.numpy(), on.found.estimate.numpy())
        errors = [
            100 * float(np.sqrt(np.mean((one.numpy() / 1e3 - on.truth / 1e3) ** 2)))
            for one in (off.found.estimate, on.found.estimate)
        ]
        titles = ("truth", "readings", f"believed: {errors[0]:.1f} %", f"modelled: {errors[1]:.1f} %")
        first = (_SIZE - _CUT) // 2
        for axes, picture, title in zip(row, pictures, titles, strict=False):
            axes.set_facecolor("#303848")
            axes.imshow(picture[first : first + _CUT, first : first + _CUT], cmap="gray", vmin=0, vmax=1000)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=9)
        said = "\n\n".join(textwrap.fill(one, 42) for one in on.told) or "(nothing)"
        row[-1].set_axis_off()
        row[-1].text(
            0, 1, f"{textwrap.fill(name, 42)}\n{pattern.replace('_', ' ')}", fontsize=9, weight="bold", va="top"
        )
        row[-1].text(0, 0.72, said, fontsize=8.5, va="top", family="monospace")
    drawn = BytesIO()
    figure.savefig(drawn, dpi=72)
    Image.open(drawn).convert("RGB").quantize(64).save(target, optimize=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw(Path(__file__).parent / "images" / "readings.png")
