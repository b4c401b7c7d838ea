"""A running scan's electrons against what it may spend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_pair import recipe

from scancontrol.dose.running import RunningDose, electrons_of
from scancontrol.errors import DoseLimitPassed
from scancontrol.paths import ScanPath

PATH = ScanPath(recipe(32, 32))
CURRENT_PA = 10.0
WHOLE = electrons_of(PATH, 0, PATH.count, CURRENT_PA)


def test_five_times_what_was_stated_is_stopped_at_the_first_stretch():
    running = RunningDose(PATH, 0, CURRENT_PA, 1.05 * WHOLE)
    with pytest.raises(DoseLimitPassed, match=r"are 5 times what current and dwell say, and the limits leave 1\.05"):
        running.add(0, 64, 5 * electrons_of(PATH, 0, 64, CURRENT_PA))


def test_an_honest_count_and_its_noise_are_not_stopped():
    rng = np.random.default_rng(2)
    running = RunningDose(PATH, 0, CURRENT_PA, 1.01 * WHOLE)
    for first in range(0, PATH.count, 16):
        running.add(first, 16, float(rng.poisson(electrons_of(PATH, first, 16, CURRENT_PA))))
    assert running.electrons == pytest.approx(WHOLE, rel=0.02)


@given(ratios=st.lists(st.floats(0.1, 3.0), min_size=16, max_size=16), headroom=st.floats(1.0, 3.0))
@settings(max_examples=50, deadline=None)
def test_no_place_gets_more_than_its_share_of_the_limit_but_for_one_stretch(ratios, headroom):
    running = RunningDose(PATH, 0, CURRENT_PA, headroom * WHOLE)
    stretch = electrons_of(PATH, 0, 64, CURRENT_PA)
    for number, ratio in enumerate(ratios):
        allowed = ratio <= headroom * (1 + 1e-9) + 6 * np.sqrt(headroom / stretch)
        try:
            running.add(64 * number, 64, ratio * stretch)
        except DoseLimitPassed:
            assert not allowed or running.electrons > headroom * WHOLE
            return
        assert allowed
    assert running.electrons <= headroom * WHOLE * (1 + 1e-9)
