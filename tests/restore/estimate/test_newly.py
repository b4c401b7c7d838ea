"""Where the specimen changed lately an interval is no narrower than a single frame's, and elsewhere it is as told."""

from __future__ import annotations

import pytest
import torch

from restore.estimate.changes import Changes
from restore.estimate.newly import Lately, Single, changed_lately, doubted, widened
from restore.restorer import Restoration
from scancontrol.restoration import Provenance

SIDE, CELL = 24, 3
SHAPE = (SIDE, SIDE)
DISTANCE = (torch.arange(SIDE) % 6).float().expand(SIDE, SIDE)


def restored(interval: torch.Tensor | None) -> Restoration:
    made_by = Provenance(method="any", face="classical", samples_used=1)
    return Restoration(torch.zeros(SHAPE), interval, made_by, distance=DISTANCE)


def changes(unlike: float = 0.0) -> Changes:
    """Of a middle of 12 × 12 pixels."""
    where = torch.zeros(SIDE // CELL, SIDE // CELL, dtype=torch.bool)
    where[2:6, 2:6] = True
    return Changes(CELL, where, False, where, unlike * where)


ALONE = Single.of(restored(0.1 + 0.1 * DISTANCE))


def told(*lately: Lately, narrow: float = 0.01) -> torch.Tensor:
    assert ALONE is not None
    interval = widened(restored(torch.full(SHAPE, narrow)), lately, ALONE).interval
    assert interval is not None
    return interval


def test_it_is_that_of_a_frame_restored_alone_as_far_from_a_sample_and_only_there() -> None:
    interval, where = told(Lately(changes())), changes().pixels(SHAPE)
    assert where is not None
    assert (interval[where] >= 0.1 + 0.1 * DISTANCE[where]).all()
    assert (interval[~where] == 0.01).all()
    assert (told(Lately(changes()), narrow=9.0) == 9.0).all()


def test_the_more_was_contradicted_the_wider_it_is_and_the_farther_from_a_sample_the_more_so() -> None:
    little, much = told(Lately(changes(0.1))), told(Lately(changes(10.0)))
    inside = (slice(6, 18), slice(6, 18))
    assert (much[inside] > little[inside]).all()
    near, far = much[inside][:, 0], much[inside][:, 5]
    assert (far > near).all()
    assert torch.equal(told(Lately(changes(10.0)), Lately(changes(0.1))), little)  # of the newest frame alone


def test_what_changed_moves_with_the_specimen_and_what_leaves_the_field_is_let_go() -> None:
    still = changes().pixels(SHAPE)
    assert still is not None
    moved = changed_lately((Lately(changes(), 2.0, -3.0), Lately(changes(), 99.0, 0.0)), SHAPE)
    assert moved is not None
    assert torch.equal(moved[2:, :-3], still[:-2, 3:])
    assert moved.sum() == still.sum()


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_in_other_units_it_is_another_number(factor: float) -> None:
    assert ALONE is not None
    torch.testing.assert_close(ALONE.times(factor).at(DISTANCE), factor**2 * ALONE.at(DISTANCE))


def test_a_restoration_that_tells_no_interval_tells_none_of_places_that_changed() -> None:
    assert ALONE is not None
    assert Single.of(restored(None)) is None
    assert widened(restored(None), (Lately(changes()),), ALONE).interval is None
    narrow = restored(torch.ones(SHAPE))
    assert widened(narrow, (), ALONE) is narrow


def test_where_what_is_remembered_was_denied_and_kept_the_interval_holds_what_denied_it() -> None:
    none = torch.zeros_like(changes().where)
    suspected = Changes(CELL, none, False, ~none, torch.full(none.shape, 2.0))
    told = doubted(restored(torch.full(SHAPE, 0.01)), suspected)
    assert told.interval is not None
    assert (told.interval >= 2.0).all()
    sure = restored(torch.full(SHAPE, 9.0))
    assert torch.equal(doubted(sure, suspected).interval, sure.interval)  # type: ignore[arg-type]
    assert doubted(restored(None), suspected).interval is None
    unsuspected = Changes(CELL, none, False, none, none.float())
    assert doubted(sure, unsuspected) is sure
