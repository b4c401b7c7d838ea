"""A small plan and a small microscope."""

from pathlib import Path

from scancontrol.capabilities import Capabilities, CoilModel
from scancontrol.files import to_yaml
from scancontrol.paths import Points
from scancontrol.plan.plan import ScanPlan, parse_plan
from scancontrol.plan.positions import Field, read_positions

MICROSCOPE = Capabilities(
    name="test", coil=CoilModel(time_constant_us=3.0), sample_clock_mhz=8, shortest_dwell_us=0.125, beam_current_pa=20
)
GOOD = {
    "name": "good",
    "shape": [128, 128],
    "fov_nm": 20.0,
    "dwell_us": 2.0,
    "frames": 4,
    "patterns": [{"kind": "archimedean", "coverage": {"value": 0.05}}],
}


def plan_with(**changes) -> ScanPlan:
    return parse_plan(to_yaml({**GOOD, **changes}))


def read_points(path: Path) -> Points:
    """The positions in a file, of a field of 100 x 100 pixels and 10 nm."""
    return read_positions(path, Field((100, 100), 10.0, 1.0))[0]
