"""One run in two processes: they stop together, with the same weights to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_tools import specimens

from restore.training.processes import Processes

ROOT = Path(__file__).parents[3]
SCRIPT = """
import hashlib, os, pathlib, sys
from restore.training import loop
from restore.train import main
out = pathlib.Path(sys.argv[1])
rank = os.environ["RANK"]
ran, step = loop.Training.run, loop.Training.step

def stepped(self, minutes=None):
    (out / f"pid{rank}").write_text(str(os.getpid()))
    return step(self, minutes)

def run(self, *arguments):
    ran(self, *arguments)
    digest = hashlib.sha256()
    for value in self.network.state_dict().values():
        digest.update(value.detach().contiguous().numpy().tobytes())
    (out / f"rank{rank}").write_text(f"{self.steps_done} {digest.hexdigest()}")

loop.Training.step, loop.Training.run = stepped, run
sys.exit(main(sys.argv[2:]))
"""
CONFIG = """
split: null
generator: {kind: spectral, widths: [8, 8], inner_blocks: [0, 1], outer_blocks: 1, spectral_iterations: [2, 2]}
crops: [{size: 64, batch: 2}]
schedule: {kind: cooldown, steps: 100000, minutes: %s, warmup_steps: 5}
"""


def _start(folder: Path, minutes: float) -> subprocess.Popen[str]:
    images = folder / "images"
    images.mkdir()
    for number, image in enumerate(specimens().images):
        Image.fromarray(np.asarray(image)).save(images / f"{number}.png")
    (folder / "run.py").write_text(SCRIPT)
    (folder / "run.yaml").write_text(CONFIG % minutes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", folder / "run.py"]
    given = [folder, "--config", folder / "run.yaml", "--images", images, "--out", folder / "out", "--quiet"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(part) for part in command + given], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )


def _ended(folder: Path) -> list[list[str]]:
    return [(folder / f"rank{rank}").read_text().split() for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_by_minutes_ends_after_the_same_step_everywhere_with_equal_weights(tmp_path: Path) -> None:
    with _start(tmp_path, 0.03) as run:
        _, said = run.communicate(timeout=240)
    assert run.returncode == 0, said[-2000:]
    first, second = _ended(tmp_path)
    assert int(first[0]) > 0
    assert first == second


def _lines(folder: Path, rank: int, run: subprocess.Popen[str]) -> Iterator[int]:
    written, ended = folder / f"pid{rank}", threading.Event()
    while run.poll() is None:
        if written.exists() and written.read_text():
            yield int(written.read_text())
            return
        ended.wait(0.05)  # two processes begin meanwhile, and need what there is of processors


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_signal_to_one_process_ends_all_of_them_cleanly(tmp_path: Path) -> None:
    with _start(tmp_path, 100.0) as run:
        for pid in _lines(tmp_path, 1, run):
            os.kill(pid, signal.SIGTERM)
        _, said = run.communicate(timeout=240)
    assert run.returncode == 0, said[-2000:]
    first, second = _ended(tmp_path)
    assert first == second
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_one_process_agrees_with_itself_and_averages_nothing() -> None:
    alone = Processes(0, 1, torch.device("cpu"))
    assert alone.agreed(2.5, ending=True) == (2.5, True)
    assert alone.mean() is None
    network = torch.nn.Linear(2, 2)
    assert alone.together(network, lambda: torch.zeros(())) is network
