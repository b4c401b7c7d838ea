"""What the configurations of real instruments say, and what is made of a bad one."""

from __future__ import annotations

import pytest

from scancontrol.errors import InvalidInput
from scancontrol.files import config_file
from scancontrol.microscope.configuration import load_drive
from scancontrol.microscope.drivers.direct_electron import DirectElectronConfig
from scancontrol.microscope.drivers.nidaq import NidaqConfig
from scancontrol.microscope.drivers.obi import ObiConfig


@pytest.mark.parametrize(
    ("name", "kind"),
    [("obi.yaml", ObiConfig), ("nidaq.yaml", NidaqConfig), ("direct-electron.yaml", DirectElectronConfig)],
)
def test_every_shipped_configuration_is_one(name, kind):
    config = load_drive(config_file(name))
    assert isinstance(config.microscope, kind)
    assert config.address.startswith("tcp://127.0.0.1:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("microscope: {driver: telepathy}", "telepathy"),
        ("microscope: {driver: obi, adress: x}", "adress"),
        ("microscope: {driver: obi, in_flight_ms: -1}", "in_flight_ms = -1"),
        ("microscope: {driver: obi, in_flight_ms: .nan}", "in_flight_ms = nan"),
        ("microscope: {driver: direct_electron, images: []}", "are not the 1 detectors"),
        ("address: tcp://127.0.0.1:1", "microscope"),
    ],
)
def test_a_bad_configuration_is_one_message_that_says_where(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        load_drive(file)


def test_one_key_without_the_other_is_refused(tmp_path):
    file = tmp_path / "half.yaml"
    file.write_text("microscope: {driver: obi}\nsecret_key: mine.key_secret\n")
    with pytest.raises(InvalidInput, match="give both"):
        load_drive(file).security(tmp_path)
