"""Electrons counted on a specimen."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.specimens.truths.readings import draw_reading


@pytest.mark.parametrize("electrons", [3.0, 60.0, 3000.0])
def test_readings_spread_as_counts_do(electrons: float) -> None:
    reading = draw_reading(np.full(40_000, 0.5), electrons, np.random.default_rng(1))
    assert reading.mean() == pytest.approx(0.5, rel=0.02)
    assert reading.var() == pytest.approx(0.5 / electrons, rel=0.05)
    assert np.allclose(reading * electrons, np.rint(reading * electrons), atol=1e-3)


def test_no_signal_counts_nothing() -> None:
    assert not draw_reading([-0.1, 0.0], 60.0, np.random.default_rng(1)).any()
