"""Plans as files: what they become on a microscope, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from plan_tools import GOOD, MICROSCOPE, plan_with

from scancontrol.errors import InvalidInput
from scancontrol.files import to_yaml
from scancontrol.paths import expand
from scancontrol.plan.plan import load_capabilities, load_plan, parse_plan
from scancontrol.plan.planned import PlannedScan

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("file", sorted(CONFIG.glob("plan-*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_plan_runs_on_the_shipped_microscope(file):
    plan = load_plan(file)
    microscope = load_capabilities(CONFIG / "microscope.yaml")
    planned = PlannedScan(plan, microscope)
    for frame in range(len(plan.patterns)):
        coverage = planned.path(frame).coverage
        goal = plan.patterns[frame].coverage
        if goal is not None:
            assert getattr(coverage, goal.by) == pytest.approx(goal.value, rel=0.005)


def test_a_plan_survives_yaml():
    plan = load_plan(CONFIG / "plan-cycle.yaml")
    assert parse_plan(to_yaml(plan)) == plan


def test_a_recipe_carries_the_microscopes_clock_dac_settling_and_centre_rate():
    recipe = PlannedScan(plan_with(), MICROSCOPE).recipe(0)
    assert (recipe.clock_mhz, recipe.dac_bits) == (8, 16)
    assert recipe.settle.time_constant_us == 3.0
    assert recipe.pattern.max_turns_per_sample == pytest.approx(1e-3 * MICROSCOPE.coil.bandwidth_khz * 2.0)
    assert recipe.pattern.turn_spacing_px > 0
    assert PlannedScan(plan_with(settle=None), MICROSCOPE).recipe(0).settle is None


def test_patterns_take_turns_and_seeds_change_only_where_they_are_told_to():
    plan = plan_with(
        patterns=[
            {"kind": "jittered_grid", "coverage": {"value": 0.05}, "seed": 1, "seed_per_frame": True},
            {"kind": "jittered_grid", "coverage": {"value": 0.05}, "seed": 1},
        ]
    )
    planned = PlannedScan(plan, MICROSCOPE)
    ids = [planned.recipe(frame).path_id for frame in range(6)]
    assert ids[1] == ids[3] == ids[5]
    assert len({ids[0], ids[2], ids[4], ids[1]}) == 4
    assert ids == [planned.recipe(frame).path_id for frame in range(6)]


def test_points_are_read_from_beside_the_plan(tmp_path):
    np.save(tmp_path / "path.npy", np.array([[0.2, 0.3], [0.4, 0.5]]))
    file = tmp_path / "plan.yaml"
    file.write_text(to_yaml({**GOOD, "patterns": [{"kind": "points", "file": "path.npy", "jump_px": 99.0}]}))
    recipe = PlannedScan(load_plan(file), MICROSCOPE).recipe(0)
    np.testing.assert_allclose(expand(recipe).positions, [[0.2, 0.3], [0.4, 0.5]], atol=1e-5)
    assert recipe.pattern.file is None
    assert recipe.pattern.jump_px == 99.0


@pytest.mark.parametrize(
    ("changes", "quantity", "limit"),
    [
        ({"dwell_us": 0}, "dwell_us", "not a finite number above 0"),
        ({"dwell_us": -1.0}, "dwell_us", "not a finite number above 0"),
        ({"dwell_us": float("nan")}, "dwell_us", "not a finite number above 0"),
        ({"dwell_us": float("inf")}, "dwell_us", "not a finite number above 0"),
        ({"dwell_us": 0.05}, "dwell_us", "below the microscope's shortest dwell, 0.125"),
        ({"dwell_us": 1e5}, "dwell_us", "above the microscope's longest dwell, 8192"),
        ({"fov_nm": 0}, "fov_nm", "not a finite number above 0"),
        ({"fov_nm": float("nan")}, "fov_nm", "not a finite number above 0"),
        ({"shape": [0, 128]}, "shape", "outside"),
        ({"shape": [100000, 100000]}, "shape", "outside"),
        ({"name": ""}, "name", "1 to 200 characters"),
        ({"name": " "}, "name", "1 to 200 characters"),
        ({"name": "a" * 201}, "name", "1 to 200 characters"),
        ({"frames": 0}, "frames", "outside 1 to 10000000"),
        ({"patterns": []}, "patterns", "names no pattern"),
        ({"patterns": [{"kind": "archimedean", "coverage": {"value": 0}}]}, "coverage", "above 0 and at most 1"),
        ({"patterns": [{"kind": "archimedean", "coverage": {"value": 1.5}}]}, "coverage", "above 0 and at most 1"),
        ({"patterns": [{"kind": "archimedean"}]}, "turn_spacing_px", "missing"),
        ({"region": {"x": 0.6, "width": 0.5}}, "region.x", "outside the field of view"),
        ({"region": {"height": float("nan")}}, "region.height", "not finite"),
        ({"region": {"height": 0}}, "region.height", "not above 0"),
        ({"rotation_deg": 30.0}, "rotation_deg", "outside the field"),
        ({"rotation_deg": float("inf")}, "rotation_deg", "not finite"),
        ({"settle": {"tolerance_px": 0}}, "settle.tolerance_px", "not above 0"),
        ({"beam_current_pa": -5.0}, "beam_current_pa", "not a finite number above 0"),
        ({"detectors": ["BF"]}, "detectors", "no detector of this microscope"),
        ({"dose_limits": {"total_e_per_a2": 0}}, "dose_limits.total_e_per_a2", "not a finite number above 0"),
        ({"dwel_us": 1.0}, "", "unknown field `dwel_us`"),
        ({"dwell_us": "fast"}, "dwell_us", "Expected `float`, got `str`"),
        ({"patterns": [{"kind": "zigzag"}]}, "patterns", "Invalid value 'zigzag'"),
        ({"patterns": [{"kind": "raster", "lins": 4}]}, "patterns", "unknown field `lins`"),
        ({"patterns": [{"kind": "points", "file": "missing.csv"}]}, "points file", "cannot be read"),
        ({"patterns": [{"kind": "jittered_grid", "points": 5, "seed": -1}]}, "seed", "outside 0"),
    ],
)
def test_what_a_plan_cannot_be_is_said_with_quantity_limit_and_remedy(changes, quantity, limit):
    with pytest.raises(InvalidInput) as refused:
        PlannedScan(plan_with(**changes), MICROSCOPE)
    assert quantity in refused.value.quantity
    assert limit in refused.value.limit
    assert refused.value.remedy


@pytest.mark.parametrize(
    "text", ["{", "- a\n- b", "", "name: [", "just words", "!!python/object/apply:os.system ['true']"]
)
def test_what_is_no_plan_at_all_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_plan(text)


def test_a_dwell_remedy_fits():
    with pytest.raises(InvalidInput) as refused:
        PlannedScan(plan_with(dwell_us=0.05), MICROSCOPE)
    fits = float(refused.value.remedy.split("to ")[1].split()[0])
    PlannedScan(plan_with(dwell_us=fits), MICROSCOPE)


def test_a_rotation_remedy_fits():
    with pytest.raises(InvalidInput) as refused:
        plan_with(rotation_deg=30.0)
    scale = float(refused.value.remedy.split(" to ")[1].split()[0])
    start = (1 - scale) / 2
    turned = plan_with(rotation_deg=30.0, region={"y": start, "x": start, "height": scale, "width": scale})
    positions = PlannedScan(turned, MICROSCOPE).path(0).positions
    assert ((positions >= 0) & (positions < 1)).all()
    assert scale == pytest.approx(1 / (np.cos(np.pi / 6) + np.sin(np.pi / 6)), abs=1e-3)


def test_weights_below_the_shortest_dwell_are_refused_with_a_dwell_that_fits():
    plan = plan_with(patterns=[{"kind": "ede_spiral", "one_in": 20, "blurred": True}], dwell_us=1.0)
    with pytest.raises(InvalidInput, match="dwell_us of a sample"):
        PlannedScan(plan, msgspec.structs.replace(MICROSCOPE, sample_clock_mhz=1000))


def test_a_path_longer_than_the_microscope_takes_is_refused():
    with pytest.raises(InvalidInput, match="above the microscope's limit, 100"):
        PlannedScan(plan_with(), msgspec.structs.replace(MICROSCOPE, samples_per_path_limit=100))


def test_a_microscope_file_that_states_nonsense_is_refused(tmp_path):
    (tmp_path / "microscope.yaml").write_text("name: odd\nsample_clock_mhz: -8\n")
    with pytest.raises(InvalidInput, match="sample_clock_mhz"):
        load_capabilities(tmp_path / "microscope.yaml")
