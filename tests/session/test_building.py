"""Plans built in Python are the plans that YAML would give."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_tools import plan_with

from scancontrol import JitteredGrid, Raster, Spiral, scan_plan
from scancontrol.errors import InvalidInput
from scancontrol.files import to_yaml
from scancontrol.session.building import plan_from


def test_a_pattern_with_its_settings_is_the_plan_of_the_same_yaml() -> None:
    built = scan_plan(Spiral(coverage=1 / 20), name="good", shape=(128, 128), fov_nm=20, dwell_us=2, frames=4)
    assert built == plan_with()


def test_several_patterns_are_taken_in_turn() -> None:
    built = scan_plan(Spiral(coverage=0.1), JitteredGrid(coverage=0.2), fov_nm=20, dwell_us=2, frames=3)
    assert [pattern.coverage.value for pattern in built.patterns if pattern.coverage] == [0.1, 0.2]
    assert built.repeats() == (2, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Spiral(coverage=20), "above 0 and at most 1"),
        (lambda: Spiral(coverage=0.1, colour="red"), "does not take this"),
        (lambda: scan_plan(Raster(), fov_nm=20, dwell_us=2, colour="red"), "use the keys of a plan's YAML"),
        (lambda: scan_plan(Raster(), fov_nm=-1, dwell_us=2), "fov_nm"),
        (lambda: plan_from(Raster(), {"fov_nm": 20}), "is a pattern without dwell_us"),
        (lambda: plan_from(plan_with(), {"fov_nm": 20}), "has its own fov_nm"),
        (lambda: plan_from("survey", {"dwell_us": 20}), "has its own dwell_us"),
    ],
)
def test_what_is_no_plan_is_refused_before_anything_is_sent(make: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make()  # type: ignore[operator]


def test_a_file_is_read_here_and_a_name_is_left_to_the_daemon(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(to_yaml(plan_with()))
    assert plan_from(file, {}) == plan_from(str(file), {}) == plan_with()
    assert plan_from("survey", {}) == "survey"
