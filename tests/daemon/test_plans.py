"""Plans that a Start may name: the configuration's stay, presets are saved, found again and deleted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from plan_tools import GOOD, plan_with

from scancontrol.daemon import plans
from scancontrol.daemon.plans import PlanBook, load_plans, plan_of
from scancontrol.errors import InvalidInput, StorageError
from scancontrol.files import to_yaml
from scancontrol.paths import Points
from scancontrol.plan.plan import ScanPlan, load_plan


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def book(tmp_path: Path, said: list[str]) -> PlanBook:
    return reopened(tmp_path, said)


def reopened(folder: Path, said: list[str]) -> PlanBook:
    survey = plan_with(name="survey")
    return PlanBook({"survey": survey}, folder / "presets", lambda text, level: said.append(text))


def points() -> Points:
    return Points.from_array(np.array([[0.25, 0.5], [0.1, 1 / 3]]))


def test_a_preset_is_offered_at_once_by_later_processes_and_by_the_command_line(
    book: PlanBook, tmp_path: Path, said: list[str]
) -> None:
    mine = plan_with(name="Mine 1-20", dwell_us=3.0)
    book.save(mine, replace=False)
    assert book.names == ("survey", "Mine 1-20")
    assert book.find("Mine 1-20") == mine
    assert reopened(tmp_path, said).find("Mine 1-20") == mine
    assert load_plan(tmp_path / "presets" / "Mine 1-20.yaml") == mine
    assert said == []


def test_positions_given_one_by_one_survive_the_file_to_the_last_bit(
    book: PlanBook, tmp_path: Path, said: list[str]
) -> None:
    plan = msgspec.structs.replace(plan_with(name="given"), patterns=(points(),))
    book.save(plan, replace=False)
    assert reopened(tmp_path, said).find("given") == plan


def test_a_preset_is_replaced_only_where_that_was_asked_for(book: PlanBook) -> None:
    book.save(plan_with(name="mine", dwell_us=2.0), replace=False)
    for name in ("mine", "MINE"):
        with pytest.raises(InvalidInput, match="is taken"):
            book.save(plan_with(name=name, dwell_us=4.0), replace=False)
    book.save(plan_with(name="mine", dwell_us=4.0), replace=True)
    assert book.find("mine").dwell_us == 4.0


def test_plans_of_the_configuration_are_neither_replaced_nor_deleted(book: PlanBook) -> None:
    with pytest.raises(InvalidInput, match="is a plan of the configuration"):
        book.save(plan_with(name="survey", dwell_us=8.0), replace=True)
    with pytest.raises(InvalidInput, match="take it out of the configuration"):
        book.delete("survey")
    assert book.find("survey") == plan_with(name="survey")


def test_a_deleted_preset_is_gone_for_good(book: PlanBook, tmp_path: Path, said: list[str]) -> None:
    book.save(plan_with(name="mine"), replace=False)
    book.delete("mine")
    assert book.names == ("survey",)
    assert reopened(tmp_path, said).names == ("survey",)
    with pytest.raises(InvalidInput, match="is not there"):
        book.delete("mine")


@pytest.mark.parametrize("name", ["../mine", "a/b", ".hidden", "a\\b", "a:b", "a\0b", "x" * 81, "ä", " "])
def test_a_name_that_could_lead_elsewhere_is_no_presets(book: PlanBook, name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        book.save(plan_with(name=name), replace=False)


def test_presets_are_bounded_in_number(book: PlanBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MAX_PRESETS", 8)
    for number in range(8):
        book.save(plan_with(name=f"p{number}"), replace=False)
    with pytest.raises(InvalidInput, match="delete one first"):
        book.save(plan_with(name="one more"), replace=False)
    book.save(plan_with(name="p7", dwell_us=5.0), replace=True)


def test_what_is_no_preset_is_said_and_costs_nothing_else(book: PlanBook, tmp_path: Path, said: list[str]) -> None:
    book.save(plan_with(name="mine"), replace=False)
    (tmp_path / "presets" / "broken.yaml").write_text("name: [")
    (tmp_path / "presets" / "other.yaml").write_text((tmp_path / "presets" / "mine.yaml").read_text())
    assert reopened(tmp_path, said).names == ("survey", "mine")
    assert len(said) == 2
    assert "broken.yaml" in said[0]
    assert "is another plan's" in said[1]


def test_a_folder_that_cannot_be_made_is_named_and_changes_nothing(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "presets").write_text("no folder")
    book = reopened(tmp_path, said)
    with pytest.raises(StorageError, match="choose another"):
        book.save(plan_with(name="mine"), replace=False)
    assert book.names == ("survey",)


def test_a_plan_that_is_not_offered_is_refused_with_those_that_are(book: PlanBook) -> None:
    with pytest.raises(InvalidInput, match="choose of survey"):
        book.find("nope")


def test_a_plan_that_was_sent_is_read_as_its_yaml_is() -> None:
    assert plan_of(GOOD) == plan_with()
    plan = msgspec.structs.replace(plan_with(), patterns=(points(),))
    sent = msgspec.json.decode(msgspec.json.encode(plan))
    assert plan_of(sent) == plan
    assert isinstance(plan_of(sent), ScanPlan)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dwell": 2.0}, "unknown field"),
        ({"dwell_us": "2"}, "write it as a plain number"),
        ({"patterns": [{"kind": "spiral"}]}, "patterns"),
        ({"frames": 0}, "frames"),
    ],
)
def test_a_plan_that_was_sent_is_refused_by_its_field(changed: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        plan_of({**GOOD, **changed})


def test_a_plan_that_was_sent_reads_no_file_of_the_daemons(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("0.1,0.2\n")
    with pytest.raises(InvalidInput, match="is not read for a plan that was sent"):
        plan_of({**GOOD, "patterns": [{"kind": "points", "file": str(tmp_path / "secret.csv")}]})


def test_two_configured_plans_of_one_name_are_refused(tmp_path: Path) -> None:
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text(to_yaml(GOOD))
    assert list(load_plans([Path("a.yaml")], tmp_path)) == [GOOD["name"]]
    with pytest.raises(InvalidInput, match="is used by two plans"):
        load_plans([Path("a.yaml"), Path("b.yaml")], tmp_path)
