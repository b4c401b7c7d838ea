"""Dose limits: what cannot be one, and the lower of two."""

from __future__ import annotations

import math

import pytest

from scancontrol.dose.limits import DoseLimits, check_fits, check_limit
from scancontrol.errors import DoseLimitPassed, InvalidInput


@pytest.mark.parametrize("name", DoseLimits.__struct_fields__)
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_limit_that_is_no_finite_number_above_0_never_exists(name, value):
    with pytest.raises(InvalidInput, match=f"dose_limits.{name} .*is not a finite number above 0"):
        DoseLimits(**{name: value})


def test_of_two_limits_the_lower_holds_and_none_is_no_limit():
    plan = DoseLimits(frame_e_per_a2=10.0, total_e_per_a2=50.0)
    specimen = DoseLimits(frame_e_per_a2=5.0, session_electrons=1e6)
    both = DoseLimits(frame_e_per_a2=5.0, total_e_per_a2=50.0, session_electrons=1e6)
    assert plan.tightest(specimen) == both == specimen.tightest(plan)
    assert DoseLimits().tightest(DoseLimits()) == DoseLimits()


def test_what_a_refusal_offers_fits_when_it_is_typed_in():
    with pytest.raises(
        DoseLimitPassed, match=r"3\.333 times.*dwell_us from 2 to 0\.6, .*0\.05 to 0\.015, or take 3 fram"
    ):
        check_limit("dose", 100.0, 30.0, dwell_us=2.0, coverage=0.05, frames=10)
    check_limit("dose", 100.0 * 0.6 / 2.0, 30.0, dwell_us=0.6, coverage=0.05, frames=10)


def test_where_hardly_anything_would_fit_the_other_remedy_is_given():
    known = {"dwell_us": 1.0, "coverage": 0.1, "frames": 1, "otherwise": "move on"}
    with pytest.raises(DoseLimitPassed, match=r"9\.999 spent, 5 asked for.*; move on"):
        check_fits("area dose", "e/Å²", 5.0, 0.001, 10.0, **known)
    check_fits("area dose", "e/Å²", 5.0, 5.0, 10.0, **known)
