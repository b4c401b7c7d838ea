"""The microscope's own dose limit: what it counts, what it refuses, and that no limit is ever passed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_pair import recipe

from scancontrol.capabilities import Capabilities
from scancontrol.dose import cells as dose_cells
from scancontrol.dose.cells import CELLS, PathCells
from scancontrol.dose.guard import DoseGuard, _highest_under
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.paths import Region, ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

CAPABILITIES = Capabilities(name="x", beam_current_pa=10.0)
ELECTRONS_PER_SAMPLE = 62.415  # 10 pA for 1 µs
EXACT = 10.0 * ELECTRONS_PER_PA_US


def guard(overcount: float = 1.0, **limits: float) -> DoseGuard:
    return DoseGuard(DoseLimits(**limits), msgspec.structs.replace(CAPABILITIES, overcount=overcount))


def raster(side: int = 64, fov_nm: float = 64.0) -> ScanPath:
    return ScanPath(recipe(side, side, fov_nm=fov_nm))


def test_the_expected_electrons_are_current_times_dwell():
    assert guard().check(raster(), 0, "") == pytest.approx(64 * 64 * ELECTRONS_PER_SAMPLE, rel=1e-4)
    assert guard(area_e_per_a2=1e9).check(raster(), 64 * 32, "") == pytest.approx(
        64 * 32 * ELECTRONS_PER_SAMPLE, rel=1e-4
    )


def test_the_area_dose_of_a_full_raster_is_its_electrons_over_its_area():
    """64 × 64 samples over 64 nm: one sample per cell of 1 nm², 100 Å²."""
    dose = ELECTRONS_PER_SAMPLE / 100
    guard(area_e_per_a2=dose * 1.001).check(raster(), 0, "")
    with pytest.raises(InvalidInput, match="area dose"):
        guard(area_e_per_a2=dose * 0.999).check(raster(), 0, "")


def test_the_refusal_says_by_how_much_and_what_would_fit():
    with pytest.raises(
        InvalidInput,
        match=r"dose of one frame in the worst area .* = 0\.6242 .*limit, 0\.3; scale dwell or coverage by 0\.481",
    ):
        guard(frame_e_per_a2=0.3).check(raster(), 0, "")


def test_dose_adds_up_over_frames_in_one_area_and_not_in_another():
    watch = guard(area_e_per_a2=1.0)  # a raster gives 0.624
    path = raster()
    watch.begin_frame(path, 0, "here")
    watch.add(path, 0, path.count, path.count * ELECTRONS_PER_SAMPLE, "here")
    with pytest.raises(InvalidInput, match=r"0\.6241 spent"):
        watch.check(path, 0, "here")
    watch.check(path, 0, "there")


def test_dose_given_with_another_field_of_view_counts():
    watch = guard(area_e_per_a2=1.0)
    wide, narrow = raster(fov_nm=64.0), raster(fov_nm=32.0)
    watch.begin_frame(narrow, 0, "a")
    watch.add(narrow, 0, narrow.count, narrow.count * ELECTRONS_PER_SAMPLE * 0.3, "a")  # 0.75 e/Å² at the centre
    with pytest.raises(InvalidInput, match=r"0\.749 spent"):
        watch.check(wide, 0, "a")


def expose(watch: DoseGuard, path: ScanPath, gain: float, block: int, area: str = "a") -> tuple[np.ndarray, str | None]:
    """Scan as the server does, on an instrument that counts ``gain`` times what it should: dose by sample, and trip."""
    electrons = np.zeros(path.count)
    watch.begin_frame(path, 0, area)
    at, trip = 0, None
    while at < path.count and trip is None:
        count = watch.budget(min(block, path.count - at))
        trip = watch.add(path, at, count, count * gain * EXACT, area)
        electrons[at : at + count] = gain * EXACT
        at += count
    return electrons, trip


def test_an_instrument_that_counts_more_than_was_foreseen_is_tripped_early_and_not_at_the_limit():
    watch = guard(area_e_per_a2=11.0)
    path = raster(256)  # 16 samples of 0.624 e/Å² in each cell, 9.99 together; half as much again would be 15
    watch.check(path, 0, "a")
    spent, trip = expose(watch, path, 1.5, 1 << 16)
    assert trip is not None
    assert "area 'a'" in trip
    cells = spent.reshape(64, 4, 64, 4).sum(axis=(1, 3)) / 100
    assert 0 < cells.max() <= 11.0
    assert (spent > 0).mean() < 0.02


def test_a_session_that_would_end_above_its_limit_is_tripped_while_it_is_below_it():
    path = raster()
    whole = path.count * ELECTRONS_PER_SAMPLE
    watch = guard(session_electrons=1.1 * whole)
    spent, trip = expose(watch, path, 1.2, 512)
    assert trip is not None
    assert spent.sum() < 0.1 * whole


def test_what_the_instrument_was_seen_to_count_is_expected_of_it_from_then_on():
    path = raster()
    watch = guard(session_electrons=100 * path.count * ELECTRONS_PER_SAMPLE)
    before = watch.check(path, 0, "a")
    assert expose(watch, path, 1.25, 512)[1] is None
    assert watch.check(path, 0, "a") == pytest.approx(1.25 * before, rel=1e-6)


def test_a_scan_that_fits_exactly_is_scanned_to_its_end():
    path = raster()
    watch = guard(session_electrons=path.count * EXACT * (1 + 1e-12), frame_e_per_a2=EXACT / 100 * (1 + 1e-12))
    watch.check(path, 0, "a")
    spent, trip = expose(watch, path, 1.0, 4096)
    assert trip is None
    assert (spent > 0).all()


def test_a_place_that_is_full_refuses_only_the_scans_that_touch_it():
    watch = guard(area_e_per_a2=0.7)
    whole = recipe(64, 64, fov_nm=64.0)
    upper = ScanPath(msgspec.structs.replace(whole, region=Region(height=0.4)))
    lower = ScanPath(msgspec.structs.replace(whole, region=Region(y=0.6, height=0.4), dwell_us=0.4))
    expose(watch, upper, 2.0, 1)  # twice what it should be: full, and more than full
    watch.check(lower, 0, "a")
    with pytest.raises(InvalidInput, match="area dose"):
        watch.check(upper, 0, "a")


def test_a_scan_trips_at_its_first_block_where_it_would_spend_more_than_it_was_given():
    watch, path = guard(), raster()
    most = 1.2 * path.count * EXACT
    assert watch.check(path, 0, "a", 0.0, most) == pytest.approx(path.count * EXACT)
    watch.begin_frame(path, 0, "a", most)
    assert watch.add(path, 0, 64, 64 * EXACT, "a") is None
    assert "scan: " in watch.add(path, 64, 64, 5 * 64 * EXACT, "a")
    with pytest.raises(InvalidInput, match="scan dose"):
        guard().check(path, 0, "a", 0.0, 0.5 * path.count * EXACT)


def test_the_frame_limit_starts_anew_with_each_frame():
    watch = guard(frame_e_per_a2=1.0)
    for _ in range(5):
        assert expose(watch, raster(), 1.5, 4096)[1] is None


@given(block=st.integers(1, 400), gain=st.floats(0.2, 2.0), limit=st.floats(0.05, 30.0), frames=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_no_limit_is_passed_by_an_instrument_that_counts_no_more_than_it_said(block, gain, limit, frames):
    watch = guard(area_e_per_a2=limit, overcount=2.0)
    path = raster(32, 32.0)  # a sample per 4 cells: it falls into one, of 25 Å²
    dose = np.zeros(path.count)
    for _ in range(frames):
        try:
            watch.check(path, 0, "a")
        except InvalidInput:
            return
        electrons, trip = expose(watch, path, gain, block)
        dose += electrons / 25
        assert dose.max() <= limit * (1 + 1e-6)
        assert trip is None


def test_a_map_seen_through_another_field_is_never_below_it():
    rng = np.random.default_rng(0)
    dose = rng.random((CELLS, CELLS))
    np.testing.assert_array_equal(_highest_under(dose, 10.0, CELLS, 10.0), dose.ravel())
    halved = _highest_under(dose, 10.0, CELLS, 5.0).reshape(CELLS, CELLS)  # the middle half, in finer cells
    middle = dose[CELLS // 4 : -CELLS // 4, CELLS // 4 : -CELLS // 4]
    np.testing.assert_array_equal(halved, middle.repeat(2, 0).repeat(2, 1))
    doubled = _highest_under(dose, 10.0, CELLS, 20.0).reshape(CELLS, CELLS)
    inside = doubled[CELLS // 4 : -CELLS // 4, CELLS // 4 : -CELLS // 4]
    np.testing.assert_array_equal(inside, dose.reshape(CELLS // 2, 2, CELLS // 2, 2).max(axis=(1, 3)))
    assert doubled.max() == dose.max()
    assert not doubled[0].any()


@pytest.mark.parametrize(
    "limits", [{"area_e_per_a2": 0.0}, {"frame_e_per_a2": -1.0}, {"session_electrons": float("nan")}]
)
def test_a_limit_that_is_not_above_0_is_refused(limits):
    with pytest.raises(InvalidInput, match="not a finite number above 0"):
        guard(**limits)


def test_a_path_too_long_to_keep_is_mapped_all_the_same(monkeypatch):
    path = raster(96)
    kept = PathCells(path)
    monkeypatch.setattr(dose_cells, "_KEPT_SAMPLES", 100)
    monkeypatch.setattr(dose_cells, "_BLOCK", 1000)
    by_block = PathCells(path)
    where, exposure_us = kept.exposure_us(777, 2222)
    assert by_block.exposure_us(777, 2222)[0] == where
    np.testing.assert_allclose(by_block.exposure_us(777, 2222)[1], exposure_us)
    assert exposure_us.sum() == pytest.approx(2222)
    np.testing.assert_allclose(by_block.exposure_from_us(0), kept.exposure_from_us(0))
    np.testing.assert_allclose(by_block.exposure_from_us(3456), kept.exposure_from_us(3000))  # never too little
    assert kept.exposure_from_us(0).sum() == pytest.approx(path.count)
