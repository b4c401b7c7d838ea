"""``scancontrol plan`` as a person runs it; and a path of many samples in little memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from path_strategies import asking
from PIL import Image

from scancontrol.commands import plan as command
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, Hilbert, JitteredGrid, PathRecipe, Raster, Settle, UniformRandom, expand

CONFIG = Path(__file__).parents[2] / "config"


def scancontrol(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scancontrol", "plan", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=CONFIG.parent,
        check=False,
    )


@pytest.mark.slow
def test_the_command_prints_the_table_and_draws_the_figure(tmp_path):
    picture = tmp_path / "plan.png"
    done = scancontrol(CONFIG / "plan-spiral-1-20.yaml", "--plot", picture, "--microscope", CONFIG / "microscope.yaml")
    assert done.returncode == 0, done.stderr
    assert "coverage, pixels touched" in done.stdout
    with Image.open(picture) as image:
        drawn = np.asarray(image.convert("RGB"))
    assert drawn.shape[1] > 1500
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nshape: [64, 64]\nfov_nm: 0\ndwell_us: 1\npatterns: [{kind: raster}]\n", "fov_nm = 0"),
        ("name: x\nshape: [64, 64]\nfov_nm: 5\ndwell_us: 0.001\npatterns: [{kind: raster}]\n", "shortest dwell, 0.05"),
        ("name: [x\n", "not YAML"),
    ],
)
def test_a_plan_that_cannot_be_ends_with_exit_code_2_and_one_message(tmp_path, text, said):
    (tmp_path / "plan.yaml").write_text(text)
    done = scancontrol(tmp_path / "plan.yaml")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_figure_that_cannot_be_written_is_refused(tmp_path):
    import argparse

    arguments = argparse.Namespace(
        file=CONFIG / "plan-spiral-1-100.yaml",
        plot=tmp_path / "nowhere" / "plan.png",
        microscope=CONFIG / "microscope.yaml",
    )
    with pytest.raises(InvalidInput, match="cannot be written"):
        command.run(arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        Raster(),
        Archimedean(turn_spacing_px=1.0),
        JitteredGrid(points=16_000_000),
        Hilbert(),
        UniformRandom(points=5_000_000, order="curve"),
        asking("line_hop", 0.9),
        asking("lissajous", 0.5),
    ],
    ids=lambda pattern: type(pattern).__name__,
)
def test_a_path_far_longer_than_its_chunks_is_expanded_in_the_memory_of_a_few(pattern):
    recipe = PathRecipe(pattern=pattern, shape=(4096, 4096), fov_nm=50, dwell_us=1, settle=Settle(time_constant_us=1))
    if not pattern.solved:
        pattern = pattern.at_density(0.5, recipe.placement.canvas)
        recipe = PathRecipe(
            pattern=pattern, shape=(4096, 4096), fov_nm=50, dwell_us=1, settle=Settle(time_constant_us=1)
        )
    tracemalloc.start()
    try:
        path = expand(recipe)
        seen = 0
        for k, chunk in enumerate(path.chunks()):
            seen += len(chunk)
            if k == 15:  # a million samples of at least five; all of them would take 160 MiB and more
                break
        last = path.chunk(path.count - 1000, 1000)
        assert len(last) == 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.count > 4.9e6
    assert seen == 16 * 65536
    assert peak < 48 * 2**20, f"{peak / 2**20:.0f} MiB"
