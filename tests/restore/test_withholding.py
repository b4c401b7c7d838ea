"""Withheld samples: when they say that the interval is too narrow, and what they say of the specimen alone."""

from __future__ import annotations

import pytest
import torch

from restore.withholding import about_specimen, missed_share

RANDOM = torch.Generator().manual_seed(0)


def test_as_many_misses_as_an_interval_of_ninety_per_cent_has_are_nothing_to_tell() -> None:
    told = [missed_share(torch.rand(200, generator=RANDOM) / 0.9, 200) for _ in range(200)]
    assert told == [None] * 200


def test_an_interval_that_is_half_as_wide_as_it_should_be_is_told() -> None:
    scores = (2 * 1.645**-1 * torch.randn(400, generator=RANDOM)).abs()
    missed = missed_share(scores, 400)
    assert missed == pytest.approx(0.41, abs=0.06), "of normally distributed errors"
    assert missed_share(scores, 4) is None, "few places say little, however many samples fell on them"


def test_of_the_specimen_is_what_noise_does_not_explain() -> None:
    residual = 2 * torch.randn(5000, generator=RANDOM)
    assert torch.equal(about_specimen(residual, None), residual)
    assert float(about_specimen(residual, 3.0).square().mean()) == pytest.approx(1.0, rel=0.15)
    assert 0 < float(about_specimen(residual, 9.0).square().mean()) < 0.3
