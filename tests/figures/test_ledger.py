"""The dose map is drawn over every place, and a pixel never shows less than the cells in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scancontrol.dose.ledger.area import patch_of
from scancontrol.dose.ledger.state import LedgerState, Place
from scancontrol.figures.ledger import draw_ledger, extent_nm, rendered, save_ledger_figure
from scancontrol.paths import PathRecipe, Serpentine, expand


def scanned(*places: tuple[float, float]) -> LedgerState:
    state = LedgerState(specimen="grid 7")
    path = expand(PathRecipe(pattern=Serpentine(), shape=(64, 64), fov_nm=64.0, dwell_us=1.0))
    for number, stage_nm in enumerate(places):
        state.places[stage_nm] = Place(stage_nm, 64.0, frames=1, electrons=1e5, last_utc_ns=number)
        state.area.add(patch_of(path, stage_nm), 1e5)
    return state


def test_the_extent_is_a_square_about_all_places() -> None:
    top, bottom, left, right = extent_nm(scanned((0.0, 0.0), (0.0, 1000.0)))
    assert bottom - top == pytest.approx(right - left)
    assert left < -32
    assert right > 1032
    assert (top + bottom) / 2 == pytest.approx(0)


def test_a_specimen_that_was_never_scanned_has_an_extent_too() -> None:
    top, bottom, left, right = extent_nm(LedgerState())
    assert top < 0 < bottom
    assert left < 0 < right


def test_dose_is_shown_where_it_was_given_and_nowhere_else() -> None:
    state = scanned((0.0, 0.0), (0.0, 1000.0))
    extent = extent_nm(state)
    left, right = extent[2:]
    seen = rendered(state, extent, 256)
    assert seen.max() == pytest.approx(state.area.worst_e_per_a2())
    centres = left + (np.arange(256) + 0.5) / 256 * (right - left)
    between = np.abs(centres - 500) < 400
    assert not seen[:, between].any()
    assert seen[128, np.abs(centres) < 20].all()
    assert seen[128, np.abs(centres - 1000) < 20].all()


@pytest.mark.slow
def test_the_figure_shows_every_place_and_the_one_scanned_last(tmp_path: Path) -> None:
    titles = [axes.get_title() for axes in draw_ledger(scanned((0.0, 0.0), (0.0, 1000.0))).axes if axes.get_title()]
    assert titles == ["every place", "scanned last: y 0 µm, x 1 µm"]
    save_ledger_figure(scanned(), tmp_path / "dose.png")
    assert (tmp_path / "dose.png").read_bytes().startswith(b"\x89PNG")
