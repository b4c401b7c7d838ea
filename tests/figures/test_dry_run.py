"""The dry run's figures are what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scancontrol.daemon.latency import LatencyWindow
from scancontrol.daemon.moving_truth import MovingTruth
from scancontrol.errors import RecordingError
from scancontrol.figures.dry_run import Summary, draw_summary, error_by_distance, frame_figures

RNG = np.random.default_rng(7)


@given(gain=st.floats(0.01, 1e4), offset=st.floats(-1e4, 1e4))
def test_errors_do_not_depend_on_the_detectors_gain_and_offset(gain: float, offset: float) -> None:
    truth = RNG.random((40, 50))
    estimate = truth + 0.1 * RNG.standard_normal(truth.shape)
    plain = frame_figures(truth, estimate)
    moved = frame_figures(gain * truth + offset, gain * estimate + offset)
    assert moved.rmse_pct == pytest.approx(plain.rmse_pct, rel=1e-6)
    assert moved.psnr_db == pytest.approx(plain.psnr_db, rel=1e-6)


def test_a_constant_error_of_a_tenth_of_the_range_is_ten_percent_and_twenty_decibels() -> None:
    truth = np.tile(np.linspace(0, 1, 1001), (4, 1))
    low, high = np.percentile(truth, (0.1, 99.9))
    figures = frame_figures(truth, truth + 0.1 * (high - low))
    assert figures.rmse_pct == pytest.approx(10)
    assert figures.psnr_db == pytest.approx(20)


def test_error_is_sorted_by_distance_to_the_nearest_touched_pixel() -> None:
    truth = RNG.random((64, 64)).astype(np.float32)
    weight = np.zeros((64, 64), np.float32)
    weight[:, 0] = 1
    columns = np.arange(64, dtype=np.float32)
    distance, rmse = error_by_distance(truth, truth + columns, weight, max_bins=100)
    low, high = np.percentile(truth, (0.1, 99.9))
    np.testing.assert_array_equal(distance, columns)
    np.testing.assert_allclose(rmse, 100 * columns / (high - low), rtol=1e-4)


def test_latencies_are_percentiles_of_a_bounded_window_and_the_largest_of_all() -> None:
    window = LatencyWindow(size=100)
    assert window.percentiles() is None
    for value in [1000.0, *range(1, 101)]:
        window.add(float(value))
    assert window.percentiles() == {"p50": 50.5, "p99": pytest.approx(99.01), "max": 1000.0}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"plain words"])
def test_a_truth_that_the_simulator_did_not_write_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "truth.npz"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="not a truth"):
        MovingTruth(path, (4, 4)).of(0)


def test_a_truth_of_another_shape_is_refused_and_a_missing_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    assert MovingTruth(path, (4, 4)).of(0) is None
    np.savez(path, expected=np.zeros((1, 4, 5)))
    with pytest.raises(RecordingError, match=r"\(4, 5\)"):
        MovingTruth(path, (4, 4)).of(0)


@pytest.mark.slow
@pytest.mark.parametrize("restored", [True, False], ids=["restored", "not restored"])
@pytest.mark.parametrize("with_truth", [True, False], ids=["truth", "no truth"])
def test_a_summary_is_drawn_with_whatever_there_is(tmp_path: Path, restored: bool, with_truth: bool) -> None:
    image = RNG.random((48, 64)).astype(np.float32)
    summary = Summary(
        title="a frame",
        truth=image if with_truth else None,
        partial=image,
        weight=(image > 0.9).astype(np.float32),
        estimate=image + 0.1 if restored else None,
        interval=image if restored else None,
        method="push_pull",
        fov_nm=12.0,
        caption="coverage 1/10",
        known=np.arange(64)[None] + np.zeros((48, 1)) < 40,
        outline=np.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.9], [0.9, 0.1]]),
    )
    draw_summary(summary, tmp_path / "summary.png")
    with Image.open(tmp_path / "summary.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    rows, cols = {1: (1, 1), 2: (1, 2), 3: (1, 3), 6: (2, 3)}[
        1 + with_truth + 2 * restored + 2 * (restored and with_truth)
    ]
    assert pixels.shape[1] > 400 * cols
    for cell in range(rows * cols):
        row, column = divmod(cell, cols)
        within = pixels[
            row * pixels.shape[0] // rows : (row + 1) * pixels.shape[0] // rows,
            column * pixels.shape[1] // cols : (column + 1) * pixels.shape[1] // cols,
        ]
        assert within.std() > 10, "what there is fills the page"


def test_what_is_not_known_is_in_no_figure_and_in_no_panel(tmp_path: Path) -> None:
    truth = np.tile(np.linspace(0, 100, 80, dtype=np.float32), (60, 1))
    known = np.zeros(truth.shape, dtype=np.bool_)
    known[:, :20] = True
    estimate = np.where(known, truth + 1, 1e6).astype(np.float32)
    assert frame_figures(truth, estimate, known).rmse_pct == pytest.approx(1.0, rel=0.02)
    assert frame_figures(truth, estimate).rmse_pct > 1e4
