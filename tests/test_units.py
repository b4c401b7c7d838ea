"""Constants and roundings that a person reads: what is printed can be typed in, and fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from scancontrol.units import ELECTRONS_PER_PA_US, length_label, per_a2, rounded_down, rounded_up, scale_bar_nm


def test_a_picoampere_during_a_microsecond_is_as_many_electrons_as_the_elementary_charge_says() -> None:
    assert pytest.approx(1e-12 * 1e-6 / constants.e, rel=1e-15) == ELECTRONS_PER_PA_US


@given(value=st.floats(1e-9, 1e9), digits=st.integers(2, 6))
def test_a_printed_bound_is_on_the_safe_side_and_within_one_of_its_last_digit(value: float, digits: int) -> None:
    below, above = float(rounded_down(value, digits)), float(rounded_up(value, digits))
    slack = 10.0 ** (1 - digits)
    assert value * (1 - slack) * (1 - 1e-8) <= below <= value * (1 + 1e-8)
    assert value * (1 - 1e-8) <= above <= value * (1 + slack) * (1 + 1e-8)


def test_round_numbers_stay_what_they_are() -> None:
    assert [rounded_down(x) for x in (2.0, 0.05, 123.0, 0.0, -1.0)] == ["2", "0.05", "123", "0", "0"]
    assert [rounded_up(x) for x in (2.0, 0.05, 1234.0)] == ["2", "0.05", "1234"]


def test_doses_are_written_with_three_digits_or_in_thousands() -> None:
    assert [per_a2(dose) for dose in (0.0123, 12.34, 4909.0, 1e8)] == [
        "0.0123 e/Å²",
        "12.3 e/Å²",
        "4,909 e/Å²",
        "1e+08 e/Å²",
    ]


@given(fov_nm=st.floats(1e-3, 1e7))
def test_a_scale_bar_is_a_round_number_that_fits_in_a_quarter_of_the_field(fov_nm: float) -> None:
    length = scale_bar_nm(fov_nm)
    assert 0.25 * fov_nm / 2.5 * 0.999 <= length <= 0.25 * fov_nm * 1.001
    mantissa = length / 10 ** np.floor(np.log10(length) + 1e-9)
    assert min(abs(mantissa - step) for step in (1, 2, 5, 10)) < 1e-6


def test_lengths_are_written_in_the_unit_that_keeps_them_short() -> None:
    assert [length_label(nm) for nm in (0.05, 0.5, 20, 2000)] == ["50 pm", "0.5 nm", "20 nm", "2 µm"]
