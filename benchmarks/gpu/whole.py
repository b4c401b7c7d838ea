"""Whole uses on the device: a minute of training, and a demo whose restorer has it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simulators.specimens.truths.draws import draw

__all__ = ["demo", "training"]

_CONFIG = """
images: images
split: null
generator: {preset}
start_from: {preset}
crops: [{{size: {size}, batch: {batch}, share: 1.0}}]
loss: {{base: rms, raw_weight: 0.1, trainer_weight: 0.0, interval_weight: 0.5, clip: paper}}
trains: [inner, outer]
optimiser: {{kind: adamw, learning_rate: 1.0e-4, betas: [0.9, 0.99], clip_gradient: 5.0}}
schedule: {{kind: cooldown, steps: 100000, minutes: {minutes}, warmup_steps: 5, cooldown_share: 0.5}}
average_decay: 0.99
mixed_precision: auto
out: run
"""


def training(device: torch.device, minutes: float) -> dict[str, Any]:
    """Steps a second, and the share of the time that the device waits for its draws."""
    card = device.type == "cuda"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        rng = np.random.default_rng(0)
        for number in range(6):
            np.save(folder / "images" / f"{number}.npy", draw(None, (512, 512), rng).image.astype(np.float32))
        preset, size, batch = ("live", 512, 8) if card else ("lite", 64, 2)
        text = _CONFIG.format(preset=preset, size=size, batch=batch, minutes=minutes)
        (folder / "train.yaml").write_text(text)
        told = ["--config", str(folder / "train.yaml"), "--minutes", str(minutes), "--device", device.type, "--quiet"]
        said = _run("restore.train", *told)
        curve = folder / "run" / "curve.csv"
        if not curve.is_file():
            return {"failed": [f"no step was taken: {said[-300:]}"]}
        with curve.open() as file:
            rows = list(csv.DictReader(file))
    last = rows[-1]
    return {
        "preset": preset,
        "crop_px": size,
        "batch": batch,
        "steps": int(float(last["step"])),
        "samples_per_s": round(float(last["samples_per_s"]), 2),
        "waiting_pct": round(float(last["waiting_pct"]), 1),
    }


def demo(device: torch.device, frames: int) -> dict[str, Any]:
    """The simulated microscope, the daemon and a restorer on the device, as ``scancontrol demo`` starts them."""
    with tempfile.TemporaryDirectory() as name:
        said = _run("scancontrol", "demo", "--headless", "--frames", str(frames), "--out", name)
        report = json.loads((Path(name) / "report.json").read_text())
    there = f" on {device.type}" in said  # the line in which the daemon names its restorer
    return {"report": report, "failed": [] if there else [f"no restorer on {device.type} is named: {said[-300:]}"]}


def _run(module: str, *arguments: str) -> str:
    """What the module said.

    Raises:
        RuntimeError: it ended with another exit code than 0.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout + done.stderr
