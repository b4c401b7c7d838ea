"""A dry run's truth is shown while the field that it is of is scanned, and taken back for any other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.daemon.page.hub import LiveHub, TruthView
from scancontrol.daemon.shown_truth import ShownTruth

TRUTH = np.ones((128, 128), np.float32)


def run(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(planned=SimpleNamespace(plan=plan_with(**changes), capabilities=MICROSCOPE))


def shown(hub: LiveHub) -> object:
    newest = hub.newest("truth")
    return None if newest is None else newest[1].image  # type: ignore[union-attr]


@pytest.mark.parametrize("changes", [{"shape": [64, 64]}, {"fov_nm": 10.0}])
def test_the_truth_is_of_the_first_field_alone(tmp_path: Path, changes: dict[str, object]) -> None:
    hub = LiveHub()
    truth = ShownTruth(tmp_path / "truth.npz", hub)
    first = run()
    truth.look(first)  # type: ignore[arg-type]
    assert hub.newest("truth") is None, "the simulator has not written it yet"
    np.savez(tmp_path / "truth.npz", expected=TRUTH[None])
    truth.look(first)  # type: ignore[arg-type]
    np.testing.assert_array_equal(shown(hub), TRUTH)
    truth.look(run(**changes))  # type: ignore[arg-type]
    assert isinstance(hub.newest("truth")[1], TruthView)  # type: ignore[index]
    assert shown(hub) is None
    truth.look(run(dwell_us=5.0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(shown(hub), TRUTH)


def test_without_a_file_nothing_is_shown(tmp_path: Path) -> None:
    hub = LiveHub()
    for file in (None, tmp_path / "none.npz"):
        ShownTruth(file, hub).look(run())  # type: ignore[arg-type]
    assert hub.newest("truth") is None
