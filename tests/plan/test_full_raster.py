"""The raster that a plan is held beside costs what its expanded path would, computed from its rows and columns."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import msgspec
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.capabilities import CoilModel
from scancontrol.paths import Raster, Region, expand
from scancontrol.plan.figures import PathFigures
from scancontrol.plan.full_raster import full_raster
from scancontrol.plan.planned import PlannedScan

CURRENT_PA = 60.0


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"shape": (130, 100)},
        {"region": Region(y=0.1, x=0.2, height=0.513, width=0.333)},
        {"dac_bits": 8},
        {"region": Region(y=0.3, x=0.3, height=0.4, width=0.4), "rotation_deg": 30.0},
        {"settle": None},
    ],
    ids=["whole", "oblong", "region", "coarse", "turned", "unsettled"],
)
@pytest.mark.parametrize(
    "coil",
    [
        CoilModel(),
        CoilModel(time_constant_us=1.0),
        CoilModel(time_constant_us=900.0),
        CoilModel(order=2, time_constant_us=7.0, damping=0.3),
    ],
    ids=["ideal", "fast", "slow", "ringing"],
)
def test_its_figures_are_those_of_the_expanded_raster(frame: dict[str, Any], coil: CoilModel) -> None:
    recipe = msgspec.structs.replace(PlannedScan(plan_with(), MICROSCOPE).recipe_of(Raster()), **frame)
    computed, expanded = full_raster(recipe, CURRENT_PA, coil), PathFigures.of(expand(recipe), CURRENT_PA, coil)
    assert computed.recipe == expanded.recipe
    assert (computed.samples, computed.moves) == (expanded.samples, expanded.moves)
    assert astuple(computed.coverage) == pytest.approx(astuple(expanded.coverage))
    assert astuple(computed.dose) == pytest.approx(astuple(expanded.dose))
    assert astuple(computed.motion) == pytest.approx(astuple(expanded.motion), rel=1e-4)
    for name in ("dwell_per_pixel_us", "exposure_us", "settle_us", "flyback_us"):
        assert getattr(computed, name) == pytest.approx(getattr(expanded, name), abs=1e-9)
