"""What an operator types is what the next recordings are of, also after a restart, unless it is configured anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from scancontrol.daemon.config import AboutConfig, DaemonConfig, SpecimenConfig, StageConfig
from scancontrol.daemon.describing import Describing, DescriptionChange
from scancontrol.errors import InvalidInput, StorageError

CONFIG = DaemonConfig(
    microscope="tcp://127.0.0.1:9",
    operator="E. Ruska",
    about=AboutConfig(project="P-7", notes="first", detector_settings={"HAADF": {"gain": 3.0}}),
    specimen=SpecimenConfig(id="gold", stage_um=StageConfig(y=5.0, x=-2.0)),
)
TYPED = DescriptionChange(specimen="carbon", operator="M. Knoll", notes="second\nline")


def test_what_is_typed_replaces_what_is_configured_and_the_rest_stays(tmp_path: Path) -> None:
    describing = Describing(CONFIG, tmp_path)
    assert (describing.now.specimen, describing.now.stage_um, describing.now.operator) == (
        "gold",
        (5.0, -2.0),
        "E. Ruska",
    )
    describing.change(TYPED)
    about = describing.about()
    assert (about.operator, about.project, about.notes) == ("M. Knoll", "P-7", "second\nline")
    assert about.detector_settings == {"HAADF": {"gain": 3.0}}
    limits = describing.now.in_ledger(CONFIG.specimen)
    assert (limits.id, limits.stage_um.y, limits.limits) == ("carbon", 5.0, CONFIG.specimen.limits)


def test_a_daemon_that_is_started_again_goes_on_with_what_was_typed(tmp_path: Path) -> None:
    typed = Describing(CONFIG, tmp_path).change(TYPED)
    assert Describing(CONFIG, tmp_path).now == typed


@pytest.mark.parametrize("changes", [{"operator": "somebody"}, {"specimen": SpecimenConfig(id="tin")}])
def test_a_configuration_that_was_changed_since_is_obeyed(tmp_path: Path, changes: dict) -> None:
    Describing(CONFIG, tmp_path).change(TYPED)
    facts = {name: getattr(CONFIG, name) for name in ("microscope", "operator", "about", "specimen")}
    anew = Describing(DaemonConfig(**(facts | changes)), tmp_path)
    assert anew.now.specimen == facts["specimen"].id if "specimen" not in changes else "tin"
    assert anew.now.notes == "first"


def test_another_microscope_in_the_same_folder_is_not_told(tmp_path: Path) -> None:
    Describing(CONFIG, tmp_path).change(TYPED)
    other = DaemonConfig(microscope="tcp://127.0.0.1:10", specimen=SpecimenConfig(id="gold"))
    assert Describing(other, tmp_path).now.specimen == "gold"


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 9000, b"{}", bytes(1 << 17)])
def test_a_damaged_file_is_left_aside(tmp_path: Path, content: bytes) -> None:
    describing = Describing(CONFIG, tmp_path)
    describing.change(TYPED)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert Describing(CONFIG, tmp_path).now.specimen == "gold"


def test_control_characters_reach_no_file_and_a_specimen_without_a_plain_name_is_refused(tmp_path: Path) -> None:
    describing = Describing(CONFIG, tmp_path)
    told = describing.change(DescriptionChange(operator=" a\x1b[2Jb\u202e\n ", notes="x\n\x07y"))
    assert told.operator == "a\ufffd[2Jb\ufffd\ufffd"
    assert told.notes == "x\n\ufffdy"
    with pytest.raises(InvalidInput, match=r"specimen = '../etc' is not made of letters"):
        describing.change(DescriptionChange(specimen="../etc"))
    assert describing.now == told


def test_what_cannot_be_kept_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    describing = Describing(CONFIG, tmp_path / "gone")
    with pytest.raises(StorageError, match="make room, or choose another folder"):
        describing.change(TYPED)
    assert describing.now.specimen == "gold"
