"""Dose is electrons over area, and a limit is refused by how much and with what would fit."""

from __future__ import annotations

import numpy as np
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.commands.plan import table
from scancontrol.dose import electrons as dose
from scancontrol.errors import InvalidInput
from scancontrol.paths import JitteredGrid, PathRecipe, Points, Raster, Region, expand
from scancontrol.plan.notes import notes
from scancontrol.plan.planned import PlannedScan


def path_of(pattern, shape=(128, 128), **more):
    return expand(PathRecipe(pattern=pattern, shape=shape, fov_nm=12.8, dwell_us=2, **more))


def test_fifty_picoamperes_for_a_microsecond_are_312_electrons():
    assert dose.electrons(50, 1) == pytest.approx(312, abs=0.1)


def test_ten_picoamperes_half_a_microsecond_on_a_fifth_of_an_angstrom_are_780_per_square_angstrom():
    path = expand(PathRecipe(pattern=Raster(), shape=(16, 16), fov_nm=16 * 0.02, dwell_us=0.5))
    frame = dose.frame_dose(path, 10)
    for value in (frame.mean_e_per_a2, frame.region_e_per_a2, frame.worst_pixel_e_per_a2):
        assert value == pytest.approx(780, rel=1e-3)


def test_the_worst_area_is_the_most_exposed_cell_of_sixty_four_across():
    points = Points.from_array(np.array([[0.5, 0.5], [0.501, 0.501], [0.9, 0.1]]))
    frame = dose.frame_dose(path_of(points), 20)
    one = dose.electrons(20, 2)
    assert frame.electrons == pytest.approx(3 * one)
    assert frame.worst_area_e_per_a2 == pytest.approx(2 * one / (2.0**2))  # cells of 0.2 nm are 2 Å wide
    assert frame.worst_pixel_e_per_a2 == pytest.approx(2 * one / 1.0)  # pixels of 0.1 nm are 1 Å wide
    assert frame.mean_e_per_a2 == pytest.approx(3 * one / 128**2)


def test_the_maps_of_dwell_and_area_hold_every_electron():
    path = path_of(JitteredGrid(points=300), (128, 96), region=Region(y=0.1, x=0.2, height=0.5, width=0.6))
    assert dose.dwell_map_us(path).sum() == pytest.approx(path.exposure_us)
    cell_a2 = (12.8 / 64) ** 2 * 100
    assert dose.area_map_e_per_a2(path, 5).sum() * cell_a2 == pytest.approx(path.electrons(5))


def test_a_dose_above_its_limit_is_refused_and_each_remedy_fits():
    plan = plan_with(frames=20)
    spent = PlannedScan(plan, MICROSCOPE).worst_area_e_per_a2
    limit = spent / 3
    with pytest.raises(InvalidInput, match=r"\(3 times\)") as refused:
        PlannedScan(plan_with(frames=20, dose_limits={"total_e_per_a2": limit}), MICROSCOPE)
    assert "20 frames" in refused.value.quantity
    assert f"{limit:.4g}" in refused.value.limit
    words = refused.value.remedy.replace(",", "").split()
    fitting_dwell = float(words[words.index("from") + 3])
    fewer = int(words[words.index("take") + 1])
    PlannedScan(plan_with(frames=20, dwell_us=fitting_dwell, dose_limits={"total_e_per_a2": limit}), MICROSCOPE)
    PlannedScan(plan_with(frames=fewer, dose_limits={"total_e_per_a2": limit}), MICROSCOPE)
    assert fewer == 6
    assert fitting_dwell == pytest.approx(2 / 3, rel=0.01)


def test_a_million_frames_of_a_large_dose_are_refused_by_the_microscopes_limit():
    import msgspec

    limited = msgspec.structs.replace(MICROSCOPE, dose_limit_e_per_a2=1e4)
    PlannedScan(plan_with(frames=4, dwell_us=1.0), limited)
    with pytest.raises(InvalidInput, match="dose of 1000000 frames in the worst area"):
        PlannedScan(plan_with(frames=1_000_000, dwell_us=1.0), limited)


def test_a_frame_limit_holds_for_each_pattern():
    with pytest.raises(InvalidInput, match="dose of one frame in the worst area"):
        PlannedScan(plan_with(dose_limits={"frame_e_per_a2": 0.01}), MICROSCOPE)


def test_the_summary_adds_up():
    plan = plan_with(
        frames=5,
        patterns=[
            {"kind": "archimedean", "coverage": {"value": 0.05}},
            {"kind": "jittered_grid", "coverage": {"value": 0.05}},
        ],
    )
    planned = PlannedScan(plan, MICROSCOPE)
    first, second = planned.patterns
    assert planned.total_time_s == pytest.approx((3 * first.duration_us + 2 * second.duration_us) * 1e-6)
    assert planned.raster.samples == 128 * 128
    assert planned.patterns[1].overhead == pytest.approx(1 - second.exposure_us / second.duration_us)
    assert planned.raster.dose.mean_e_per_a2 * first.coverage.dose == pytest.approx(
        planned.patterns[0].dose.mean_e_per_a2
    )
    assert any("blanked" in note for note in notes(planned))


def test_the_table_shows_three_coverages_quantisation_and_the_raster():
    text = table(PlannedScan(plan_with(dwell_us=1.3), MICROSCOPE))
    for words in (
        "coverage, nominal",
        "coverage, pixels touched",
        "coverage, dose",
        "full raster",
        "1/20.00",
        "dwell 1.3 µs becomes 1.25 µs (-3.85%)",
        "positions on 16 bits",
    ):
        assert words in text
