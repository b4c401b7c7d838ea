"""The wheel, installed into an environment of its own and used far from the checkout, as a new user would.

What it depends on is lent from the environment of the tests. The commands are those of the documents, as written, but
for what stands for a user's own: ``YOUR_FOLDER``, minutes of training, how many frames, and where the environment lies.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from experiment_tools import few_pictures
from PIL import Image
from samples import ROOT, blocks

import scancontrol

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the built wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    scan = folder / "scan"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(scan)], check=True, timeout=60)
    lent = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    own = Path(sysconfig.get_path("purelib", vars={"base": str(scan)}))
    (own / "lent.pth").write_text("\n".join(dict.fromkeys(lent)) + "\n")
    install = [*pip, "--python", str(scan / "bin/python"), "install", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*install, str(wheel)], check=True, timeout=120)
    return scan


@pytest.fixture(scope="module")
def elsewhere(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's, with the shipped configurations beside what is done."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(environment, folder, "scancontrol configs --copy config")
    return folder


def run(environment: Path, folder: Path, command: str, code: int = 0) -> str:
    """What a shell command says, typed in ``folder`` with the environment on the path."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ |= {"PATH": f"{environment / 'bin'}:{environ['PATH']}", "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": ""}
    words = ["bash", "-c", command.replace(".venv/bin/", "")]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def written(page: str, beginning: str) -> str:
    """The one command of a page that begins so, as it is written."""
    lines = [
        line.removeprefix("$ ")
        for kind in ("", "console")
        for block in blocks(kind)
        if block.page == page
        for line in block.text.splitlines()
    ]
    (line,) = [line for line in lines if line.startswith(beginning)]
    return re.sub(r"\s+#.*", "", line)


def test_it_is_the_wheel_that_answers_and_not_the_checkout(environment: Path, elsewhere: Path) -> None:
    assert run(environment, elsewhere, "scancontrol --version") == f"scancontrol {scancontrol.__version__}\n"
    where = run(
        environment, elsewhere, "python -c 'import scancontrol, restore; print(scancontrol.__file__, restore.__file__)'"
    )
    assert all(path.startswith(str(environment)) for path in where.split())


def test_everything_that_is_no_code_is_in_it(environment: Path) -> None:
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    for pattern, among in (
        ("config/*.yaml", own / "scancontrol"),
        ("restore/weights/*.safetensors", own),
        ("scancontrol/daemon/page/static/*", own),
    ):
        ours = {path.name for path in ROOT.glob(pattern) if path.is_file()}
        assert ours == {path.name for path in among.glob(pattern) if path.is_file()}, pattern


def test_the_quick_start_does_what_it_says(environment: Path, elsewhere: Path) -> None:
    page = "docs/tutorial/quick-start.md"

    def few(beginning: str) -> str:
        return written(page, beginning).replace("--frames 5", "--frames 2")

    run(environment, elsewhere, few(".venv/bin/scancontrol demo --frames 5 --headless --out runs/first"))
    folder = elsewhere / "runs/first"
    assert len(list(folder.glob("*.hspy"))) == 1
    assert (folder / "summary.png").stat().st_size > 10_000
    report = json.loads((folder / "report.json").read_text())
    assert report
    y, x = np.mgrid[:256, :256]
    Image.fromarray((127 + 100 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)).save(elsewhere / "micrograph.tif")
    run(environment, elsewhere, written(page, ".venv/bin/scancontrol plan "))
    assert (elsewhere / "plan.png").stat().st_size > 10_000
    run(environment, elsewhere, written(page, ".venv/bin/scancontrol restore "))
    run(environment, elsewhere, written(page, ".venv/bin/scancontrol export "))
    assert list((elsewhere / "pictures").glob("**/*.png"))
    run(environment, elsewhere, few(".venv/bin/scancontrol demo --frames 5 --headless --out runs/specimen"))
    assert len(list((elsewhere / "runs/specimen").glob("*.hspy"))) == 1


def test_one_trains_on_ones_own_images_and_uses_what_came_of_it(environment: Path, elsewhere: Path) -> None:
    page = "docs/how-to/retrain.md"
    few_pictures(elsewhere / "pictures-of-mine")

    def mine(beginning: str) -> str:
        command = written(page, beginning).replace("YOUR_FOLDER", "pictures-of-mine")
        return command.replace("--minutes 5", "--minutes 0.05")

    said = run(environment, elsewhere, mine("python -m restore.train --config config/train-mine.yaml"))
    assert "held out" in said
    assert {"curve.csv", "curve.png", "validation.csv", "checkpoint.safetensors"} <= {
        path.name for path in (elsewhere / "runs/mine").iterdir()
    }
    run(environment, elsewhere, mine("python -m restore.export"))
    assert (elsewhere / "mine.md").read_text().startswith("#")
    # The daemon's command is checked in test_samples.py; the file is what it would be given.
    run(environment, elsewhere, "scancontrol restore runs/first/*.hspy --redo --frames 0 --weights mine.safetensors")


def test_samples_of_another_program_are_imported_restored_and_drawn(environment: Path, elsewhere: Path) -> None:
    page = "docs/how-to/with-data.md"
    rng = np.random.default_rng(0)
    sampled = rng.random((512, 512)) < 0.05
    rows, columns = np.nonzero(sampled)
    lines = [f"{r},{c},{100 + 50 * np.sin(c / 20):.2f}" for r, c in zip(rows, columns, strict=True)]
    (elsewhere / "samples.csv").write_text("row,col,HAADF\n" + "\n".join(lines) + "\n")
    run(environment, elsewhere, written(page, "scancontrol import "))
    run(environment, elsewhere, written(page, "scancontrol restore scan.hspy"))
    run(environment, elsewhere, written(page, "scancontrol export scan.hspy"))
    values = 100 + 50 * np.sin(np.arange(512) / 20)[None, :].repeat(512, 0)
    np.savez(elsewhere / "spiral.npz", values=values[sampled], sampled=sampled)
    (code,) = (block.text for block in blocks("python") if block.page == page and "restore_samples" in block.text)
    (elsewhere / "samples.py").write_text(code + "print(found.estimate.shape)\n")
    assert "(512, 512)" in run(environment, elsewhere, "python samples.py")


def test_a_plan_is_expanded_as_the_page_for_dry_runs_shows(environment: Path, elsewhere: Path) -> None:
    (code,) = (block.text for block in blocks("python") if block.page == "docs/how-to/dry-runs.md")
    (elsewhere / "dry.py").write_text(code.split("from scancontrol.paths import expand")[0])
    assert "13851" in run(environment, elsewhere, "python dry.py")
