"""A dry run's truth is shown while the field that it is of is scanned, and taken back for any other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.daemon.page.hub import LiveHub, RestorationView, TruthView
from scancontrol.daemon.shown_truth import ShownTruth
from scancontrol.restoration import Provenance

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


def test_a_moving_specimens_truth_is_of_the_frame_that_is_shown(tmp_path: Path) -> None:
    around = np.tile(np.arange(256, dtype=np.float32), (256, 1))
    np.savez(tmp_path / "truth.npz", expected=around[None, 64:-64, 64:-64])
    np.savez(tmp_path / "truth-around-000000.npz", expected=around[None])
    line = '{{"frame":{0},"truth":"truth-around-000000.npz","moved_px":[0.5,{0}.5]}}\n'
    (tmp_path / "truth-moves.jsonl").write_text("".join(line.format(frame) for frame in range(3)))
    hub, acquired = LiveHub(), run()
    truth = ShownTruth(tmp_path / "truth.npz", hub)
    made_by = Provenance(method="push_pull", face="faithful")
    for frame in (0, 2):
        hub.publish_restoration(RestorationView("s", frame, TRUTH, None, made_by, None))
        truth.look(acquired)  # type: ignore[arg-type]
        view = hub.newest("truth")[1]  # type: ignore[index]
        assert isinstance(view, TruthView)
        assert view.of == ("s", frame)
        np.testing.assert_allclose(view.image, around[64:-64, 64:-64] - frame - 0.5, atol=1e-3)
    seq = hub.newest("truth")[0]  # type: ignore[index]
    truth.look(acquired)  # type: ignore[arg-type]
    assert hub.newest("truth")[0] == seq, "it is published once a frame"  # type: ignore[index]


def test_without_a_file_nothing_is_shown(tmp_path: Path) -> None:
    hub = LiveHub()
    for file in (None, tmp_path / "none.npz"):
        ShownTruth(file, hub).look(run())  # type: ignore[arg-type]
    assert hub.newest("truth") is None
