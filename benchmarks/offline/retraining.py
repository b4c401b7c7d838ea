"""What some minutes of retraining do for a specimen that the shipped weights have seen nothing like.

    python -m benchmarks.offline.retraining --minutes 5

The specimen is a lamellar eutectic: two phases in a labyrinth of bands of one width, bent and branching at random. Six
fields to train on, four others to test; ``config/train-mine.yaml``, one processor thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from restore.fills.registry import fill_named
from restore.generator.low_pass import low_pass
from restore.generator.networks import build_network
from restore.gridding import FrameGeometry
from restore.training.config import load_config
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.random_paths import draw_path
from restore.training.starting import start_from
from restore.training.validation import validate

__all__ = ["eutectic", "main"]

_SIDE, _TRAINED, _TESTED = 512, 6, 4
_PATHS = {f"{kind}_1/{round(1 / part)}": (kind, part) for kind in ("jittered", "archimedean") for part in (0.05, 0.01)}


def eutectic(seed: int, period_px: float = 22.0, electrons: float = 2000.0) -> NDArray[np.float32]:
    """Counts (512, 512) of one field: noise of nearly one wavelength, divided into two phases; few electrons."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None]
    ring = np.exp(-0.5 * ((np.hypot(y, x) - 1 / period_px) / (0.12 / period_px)) ** 2)
    wave = np.fft.irfft2(ring * np.fft.rfft2(rng.normal(size=(_SIDE, _SIDE))), s=(_SIDE, _SIDE))
    phase = 0.5 + 0.5 * np.tanh(2.5 * wave / wave.std())
    tilt = 0.1 * (np.linspace(-1, 1, _SIDE)[:, None] * rng.normal() + np.linspace(-1, 1, _SIDE)[None] * rng.normal())
    return rng.poisson(electrons * np.clip(0.25 + 0.5 * phase + tilt, 0.02, 1)).astype(np.float32)


def _fields() -> Iterator[tuple[NDArray[np.float32], str, str]]:
    for number in range(_TRAINED + _TESTED):
        yield eutectic(number), "train" if number < _TRAINED else "test", f"eutectic {number}"


def _classical(images: ImageSet) -> dict[str, float]:
    """Mean ``rmse_lowpass`` in per cent of the spectral fill on paths as ``validate`` draws them, of other seeds."""
    fill, found = fill_named("spectral"), {}
    for name, (kind, coverage) in _PATHS.items():
        errors = []
        for number, image in enumerate(images.images):
            truth = image.float() / 255
            rng = np.random.default_rng((7, number))
            where, _ = draw_path(kind, _SIDE, coverage, rng, torch.device("cpu"))
            pixel = where.floor().clamp(0, _SIDE - 1) + 0.5
            geometry = FrameGeometry.from_positions(pixel / _SIDE, (_SIDE, _SIDE))
            estimate = fill(truth.flatten()[geometry.index], geometry)
            error = estimate - low_pass(truth[None, None])[0, 0]
            errors.append(100 * float(error.square().mean().sqrt()))
        found[name + "_pct"] = float(np.mean(errors))
    return found


def run(minutes: float, picture: Path | None = None) -> dict[str, Any]:
    """Errors of the classical fill, the start, the shipped weights and the retrained ones, by path."""
    torch.set_num_threads(1)
    images = ImageSet.of(_fields())
    _, tested = images.without(("test",))
    if picture is not None:
        Image.fromarray(images.images[0].numpy()).save(picture)
    config = replace(load_config(Path("config/train-mine.yaml")), holdout_groups=("test",))
    config = replace(config, schedule=replace(config.schedule, minutes=minutes))
    shipped = build_network(config.network)
    start_from(shipped, Path(str(config.start_from)))
    before = validate(shipped.eval(), tested, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, images, Path(folder))
        training.run(None, progress=False)
        after = validate(training.averaged(), tested, torch.device("cpu"))
    rows = {
        "spectral, a classical fill": _classical(tested),
        "low-passed start, no network": {f"{name}_pct": before[f"{name}_start"] for name in _PATHS},
        "lite as it ships": before,
        f"after {minutes:g} minutes": after,
    }
    return {"steps": training.steps_done, "minutes": minutes} | {
        row: {name: round(errors[f"{name}_pct"], 3) for name in _PATHS} for row, errors in rows.items()
    }


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--picture", type=Path, help="where to write one field, to see what it looks like")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/retraining.json"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    figures = run(options.minutes, options.picture)
    options.json.write_text(json.dumps({"benchmark": "retraining", "figures": figures}, indent=2) + "\n")
    print(f"{figures['steps']} steps\n| | " + " | ".join(_PATHS) + " |")
    for row, errors in figures.items():
        if isinstance(errors, dict):
            print(f"| {row} | " + " | ".join(f"{errors[name]:.2f}" for name in _PATHS) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
