"""What each part of the generator is worth: one short training a variant, the same processor minutes for each.

    python -m benchmarks.offline.ablations --images MANIFEST --minutes 5 [--start-from WEIGHTS] [--only NAME ...]

Every variant begins anew from the same seed, on one thread, and is stopped by the processor time that it used, so that
other work on the machine does not count. With ``--start-from`` it begins with trained weights instead and shows what
it cannot make up for without the part that was taken away; ``lite`` is then the control. The error is ``rmse_lowpass``
in per cent on specimen groups that no variant trains on. ``one path`` is the network specialised to spirals at 1/20;
``ede2020`` the author's 106 M parameters.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from restore.generator.presets import PRESETS
from restore.training.config import Crop, OptimiserConfig, ScheduleConfig, TrainConfig, load_config
from restore.training.drawing import DrawConfig
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.losses import LossConfig

__all__ = ["VARIANTS", "train"]

log = logging.getLogger(__name__)

LITE = PRESETS["lite"]


def _ede2020(config: TrainConfig) -> TrainConfig:
    """The author's networks, loss and optimiser, on the same draws as ours."""
    own = load_config(Path("config/train-ede2020.yaml"))
    return replace(
        config,
        generator=own.generator,
        crops=(Crop(size=512, batch=1),),
        loss=own.loss,
        optimiser=own.optimiser,
        schedule=replace(config.schedule, warmup_steps=1),
        mixed_precision=False,
    )


VARIANTS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "lite": lambda c: c,
    "one path": lambda c: replace(
        c, draw=replace(c.draw, patterns={"archimedean": 1.0}, coverage=(0.05, 0.05), subpixel_share=0, lag_share=0)
    ),
    "ede2020": _ede2020,
    "no path information": lambda c: replace(c, generator=replace(LITE, path_information=False)),
    "start without spectral steps": lambda c: replace(c, generator=replace(LITE, spectral_iterations=(0, 0))),
    "start of two rounds": lambda c: replace(c, generator=replace(LITE, spectral_iterations=(8, 14))),
    "no crops turned by any angle": lambda c: replace(c, draw=replace(c.draw, turn_share=0.0)),
    "no trainer head": lambda c: replace(c, trains=("inner", "outer"), loss=replace(c.loss, trainer_weight=0.0)),
    "crops of 128 px only": lambda c: replace(c, crops=(Crop(size=128, batch=16),)),
    "no additions from encoder to decoder": lambda c: replace(c, generator=replace(LITE, extra_residuals=False)),
    "loss on low-passed output": lambda c: replace(c, loss=replace(c.loss, lowpass_output=True)),
    "mean squared error": lambda c: replace(c, loss=replace(c.loss, base="mse")),
}


def _base(minutes: float, start_from: Path | None = None) -> TrainConfig:
    """``lite``'s own recipe with smaller batches, which a few minutes have more steps of."""
    return TrainConfig(
        start_from=None if start_from is None else str(start_from),
        holdout_groups=load_config(Path("config/train-lite.yaml")).holdout_groups,
        draw=DrawConfig(coverage=(0.008, 0.2), coverage_skew=1.5, poisson_share=0.25, turn_share=0.35),
        crops=(Crop(size=256, batch=4, share=0.5), Crop(size=512, batch=1, share=0.5)),
        loss=LossConfig(raw_weight=0.1, trainer_weight=0.3, interval_weight=0.5),
        optimiser=OptimiserConfig(
            learning_rate=1e-3 if start_from is None else 3e-4, betas=(0.9, 0.99), clip_gradient=5.0
        ),
        schedule=ScheduleConfig(minutes=minutes, steps=100_000, warmup_steps=50, cooldown_share=0.5),
        average_decay=0.98,
        mixed_precision="auto",
        seed=1,
    )


class _ByProcessorTime(Training):
    """Counts its minutes in processor time."""

    @property
    def minutes(self) -> float:
        return (time.process_time() - self._began) / 60

    _began = 0.0

    def begin(self) -> None:
        self._began = time.process_time()


def train(name: str, minutes: float, images: ImageSet, start_from: Path | None = None) -> dict[str, Any]:
    """Train one variant for so many processor minutes; its steps, parameters and held-out errors."""
    config = VARIANTS[name](_base(minutes, start_from))
    with tempfile.TemporaryDirectory() as folder:
        training = _ByProcessorTime(config, images, Path(folder))
        training.begin()
        while training.minutes < minutes:
            training.step()
        steps = training.steps_done
        # The running average of a network that took a handful of steps is still mostly its random start.
        if steps < 300 and start_from is None:
            training.average = training.network.state_dict()
        errors = training.validate()
    network = training.network
    count = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("trainer."))
    kept = {key: round(value, 3) for key, value in errors.items() if key.endswith(("_pct", "_start"))}
    return {"parameters": count, "steps": steps, **kept}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="manifest of micrographs with specimen groups")
    parser.add_argument("--minutes", type=float, default=5.0, help="processor minutes for each variant")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--start-from", type=Path, help="weights that every variant begins with")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/ablations.json"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    images = ImageSet.read(options.images, "train")
    found = json.loads(options.json.read_text())["figures"] if options.json.exists() else {}
    for name in options.only:
        row = {"processor_minutes": options.minutes, **train(name, options.minutes, images, options.start_from)}
        log.info("%-38s %s", name, row)
        found[name if options.start_from is None else f"{name}, from {options.start_from.stem}"] = row
        text = json.dumps({"benchmark": "ablations", "figures": found}, indent=2)
        options.json.write_text(text + "\n")  # after each, so that a long run that is stopped has said what it knows
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
