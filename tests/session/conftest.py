"""A dry run that waits for orders, as a user starts it: one for all tests here, that ends with the last of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scancontrol.daemon.health import daemon_folder
from scancontrol.session import Session, connect


@pytest.fixture(scope="package")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running ``scancontrol demo --idle``."""
    out = tmp_path_factory.mktemp("dry-run")
    command = [sys.executable, "-m", "scancontrol", "demo", "--idle", "--method", "nearest", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        said = [""]
        for line in lines:
            said.append(line)
            if line.startswith("restorer"):
                break
        if not said[-1].startswith("restorer"):
            pytest.fail(f"it ended with {process.wait(20)}: {''.join(said)}")
        assert daemon_folder(out) == out
        yield out
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def session(dry_run: Path) -> Iterator[Session]:
    with connect(dry_run, operator="Ada") as session:
        yield session


@pytest.fixture
def observer(dry_run: Path) -> Iterator[Session]:
    with connect(dry_run, role="observer") as session:
        yield session


@pytest.fixture(autouse=True)
def _free_beam(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds the beam as another left it."""
    yield
    if "dry_run" in request.fixturenames:
        with connect(request.getfixturevalue("dry_run")) as operator:
            if operator.status.orders.standing is not None:
                operator.abort("the test has ended")
