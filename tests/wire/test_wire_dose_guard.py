"""The microscope's own dose limit: what it counts, what it refuses, and that no limit is ever passed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_pair import recipe

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.wire import dose_cells
from scancontrol.wire.dose_cells import CELLS, PathCells
from scancontrol.wire.dose_guard import DoseGuard, DoseLimits, _highest_under

CAPABILITIES = Capabilities(name="x", beam_current_pa=10.0)
ELECTRONS_PER_SAMPLE = 62.415  # 10 pA for 1 µs


def guard(**limits: float) -> DoseGuard:
    return DoseGuard(DoseLimits(**limits), CAPABILITIES)


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
    with pytest.raises(InvalidInput, match=r"frame dose .* = 0\.6242 .*limit, 0\.3; scale dwell or coverage by 0\.481"):
        guard(frame_e_per_a2=0.3).check(raster(), 0, "")


def test_dose_adds_up_over_frames_in_one_area_and_not_in_another():
    watch = guard(area_e_per_a2=1.0)  # a raster gives 0.624
    path = raster()
    watch.add(path, 0, path.count, path.count * ELECTRONS_PER_SAMPLE, "here")
    with pytest.raises(InvalidInput, match=r"0\.6241 spent"):
        watch.check(path, 0, "here")
    watch.check(path, 0, "there")


def test_dose_given_with_another_field_of_view_counts():
    watch = guard(area_e_per_a2=1.0)
    wide, narrow = raster(fov_nm=64.0), raster(fov_nm=32.0)
    watch.add(narrow, 0, narrow.count, narrow.count * ELECTRONS_PER_SAMPLE * 0.3, "a")  # 0.75 e/Å² at the centre
    with pytest.raises(InvalidInput, match=r"0\.749 spent"):
        watch.check(wide, 0, "a")


def test_a_trip_comes_before_the_limit_is_passed():
    watch = guard(area_e_per_a2=10.0)
    path = raster()
    block, electrons = 512, 512 * ELECTRONS_PER_SAMPLE
    spent, tripped = np.zeros(path.count), None
    while tripped is None:
        for first in range(0, path.count, block):
            tripped = watch.add(path, first, block, electrons, "a")
            spent[first : first + block] += ELECTRONS_PER_SAMPLE / 100
            if tripped:
                break
    assert 9.0 < spent.max() <= 10.0
    assert "area 'a'" in tripped


def test_the_frame_limit_starts_anew_with_each_frame():
    watch = guard(frame_e_per_a2=1.0)
    path = raster()
    for _ in range(5):
        watch.begin_frame()
        assert watch.add(path, 0, path.count, path.count * ELECTRONS_PER_SAMPLE * 0.7, "a") is None


@given(block=st.integers(1, 400), gain=st.floats(0.2, 5.0), limit=st.floats(0.05, 30.0), frames=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_no_limit_is_passed_by_a_steady_beam_after_its_very_first_block(block, gain, limit, frames):
    watch = guard(area_e_per_a2=limit)
    path = raster(32, 32.0)  # a sample per 4 cells: it falls into one, of 25 Å²
    each = ELECTRONS_PER_SAMPLE * gain
    step = each / 25
    dose = np.zeros(path.count)
    for first in list(range(0, path.count, block)) * frames:
        count = min(block, path.count - first)
        trip = watch.add(path, first, count, count * each, "a")
        dose[first : first + count] += step
        assert dose.max() <= max(limit, step) * (1 + 1e-9)
        if trip:
            assert dose.max() + step > limit * (1 - 1e-9)
            return
    assert dose.max() + step <= limit * (1 + 1e-9)


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
    with pytest.raises(InvalidInput, match="not above 0"):
        guard(**limits)


def test_a_path_too_long_to_keep_is_mapped_all_the_same(monkeypatch):
    path = raster(96)
    kept = PathCells(path)
    monkeypatch.setattr(dose_cells, "_KEPT_SAMPLES", 100)
    monkeypatch.setattr(dose_cells, "_BLOCK", 1000)
    by_block = PathCells(path)
    np.testing.assert_allclose(by_block.exposure_us(777, 2222), kept.exposure_us(777, 2222))
    np.testing.assert_allclose(by_block.exposure_from_us(0), kept.exposure_from_us(0))
    np.testing.assert_allclose(by_block.exposure_from_us(3456), kept.exposure_from_us(3000))  # never too little
    assert kept.exposure_from_us(0).sum() == pytest.approx(path.count)
