"""The instrument of docs/how-to/add-an-instrument.md is complete, short, and scans."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import expand
from scancontrol.plan.plan import parse_plan
from scancontrol.plan.planned import PlannedScan

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs/how-to/add-an-instrument.md"
PLAN = """
name: documented
shape: [64, 64]
fov_nm: 10.0
dwell_us: 2.0
patterns: [{kind: serpentine}]
"""


def source() -> str:
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_documented_instrument_has_under_sixty_lines() -> None:
    assert len([line for line in source().splitlines() if line.strip()]) < 60


def test_the_documented_instrument_scans_a_frame_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "gradient.py").write_text(source())
    process = subprocess.Popen(
        [sys.executable, "gradient.py"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())["address"]
        with MicroscopeLink(address, operator="reader") as link:
            capabilities = link.connect(20)
            recipe = PlannedScan(parse_plan(PLAN), capabilities).recipe(0)
            path = expand(recipe)
            link.start(link.register(recipe), series_id=1, frame=0)
            values: list[np.ndarray] = []
            end = None
            while end is None:
                event = link.receive(5)
                if isinstance(event, Chunk):
                    values.append(event.values[0])
                    link.acknowledge(1, 0, event.first_index + event.values.shape[1])
                elif isinstance(event, End):
                    end = event
        assert end.reason == "completed"
        np.testing.assert_array_equal(np.concatenate(values), (1000 * path.positions[:, 1]).astype("<u2"))
        assert end.electrons == pytest.approx(path.electrons(capabilities.beam_current_pa), rel=1e-3)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()
