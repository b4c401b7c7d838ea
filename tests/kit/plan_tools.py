"""A small plan and a small microscope."""

from scancontrol.capabilities import Capabilities, CoilModel
from scancontrol.files import to_yaml
from scancontrol.plan.plan import ScanPlan, parse_plan

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
