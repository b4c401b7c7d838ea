"""Words that cannot be written are lost alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scancontrol.processes.terminal import LossyText


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932", "utf-8"])
def test_a_letter_that_the_terminal_lacks_is_no_error(encoding: str) -> None:
    raw = io.BytesIO()
    stream = LossyText(io.TextIOWrapper(raw, encoding=encoding))
    stream.write("5 µs → 3 e/Å²\n")
    stream.flush()
    assert raw.getvalue().startswith(b"5 ")
    assert not stream.failed


def test_a_terminal_that_is_closed_or_full_takes_words_and_raises_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    stream = LossyText(closed)
    assert stream.write("lost") == 4
    stream.flush()
    assert not stream.isatty()
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    stream = LossyText(full)
    stream.write("lost")
    stream.flush()
    assert stream.failed
    full.detach().close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{it} keys --help | head -1", 0),
        ("PYTHONIOENCODING=ascii {it} plan {plan}", 0),
        ("PYTHONIOENCODING=cp932 {it} plan {plan}", 0),
        ("{it} plan {plan} >&-", 0),
        ("{it} plan {plan} > /dev/full", 1),
        ("{it} plan {plan} 2> /dev/full", 0),
    ],
)
def test_a_command_whose_words_are_lost_ends_without_a_traceback(tmp_path: Path, command: str, code: int) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: p\nshape: [64, 64]\nfov_nm: 5.0\ndwell_us: 1.0\npatterns: [{kind: raster}]\n")
    line = command.format(it=f"{sys.executable} -m scancontrol", plan=plan)
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == code
