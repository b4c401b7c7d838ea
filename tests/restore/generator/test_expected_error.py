"""A frame's expected error is right however few places of it were withheld."""

from __future__ import annotations

import pytest
import torch

from restore.generator.intervals import COVERAGES, Calibration
from restore.withholding import AtHeld

_OVER_WIDTH = 0.41  # errors over half-widths, root mean square, as networks have them
_FLAT = Calibration(
    factors=((1.0, 1.0),) * (len(COVERAGES) + 1), distances=(4.0,), rms_share=_OVER_WIDTH ** (1 - 0.755)
)


def _at_held(width: float, over_width: float) -> AtHeld:
    residual = over_width * width * torch.randn(4000, generator=torch.Generator().manual_seed(1))
    return AtHeld(residual, torch.full_like(residual, width), width)


@pytest.mark.parametrize("say", [0.1, 0.17, 0.46, 0.755, 0.9, 1.0])
def test_where_the_promise_is_right_no_place_need_be_withheld_to_know_the_error(say: float) -> None:
    assert _FLAT.expected(_at_held(2.0, _OVER_WIDTH), say) == pytest.approx(2 * _OVER_WIDTH, rel=0.05)


def test_the_more_places_there_are_the_more_their_error_counts() -> None:
    usual, doubled = (_at_held(2.0, share * _OVER_WIDTH) for share in (1, 2))
    gained = [_FLAT.expected(doubled, say) / _FLAT.expected(usual, say) for say in (0.1, 0.5, 1.0)]
    assert gained == pytest.approx([2**0.1, 2**0.5, 2.0], rel=1e-3)
