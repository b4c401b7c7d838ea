"""``scancontrol calibrate`` and ``scancontrol drive`` as a user runs them: processes, real sockets."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from scancontrol.commands import calibrate
from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.processes.parent import ChildProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def start():
    """Start a process of ours; returns where it listens."""
    with ExitStack() as stack:

        def run(module: str, *arguments: str) -> str:
            child = ChildProcess(module, module, arguments)
            stack.callback(child.stop)
            return str(child.wait_ready(60)["address"])

        yield run


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    calibrate.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["calibrate", *words])
    return arguments.run(arguments)


def hosted(folder: Path, address: str) -> Path:
    file = folder / "obi.yaml"
    file.write_text(f"address: tcp://127.0.0.1:0\nmicroscope:\n  driver: obi\n  address: {address}\n")
    return file


def test_coils_and_detector_of_a_running_microscope_are_measured_and_stated_from_then_on(start, tmp_path):
    config = tmp_path / "microscope.yaml"
    config.write_text(
        "coils: {order: 1, time_constant_us: 1.0}  # true\npace: fast\nbeam: {current_pa: 200.0}\n"
        "detectors:\n  - {name: HAADF, decay_us: 0.8, counts_per_electron: 20.0, offset_counts: 200.0}  # true\n"
        "specimen: {kind: gold_on_carbon, size_nm: 8.0}\n"
        "stated:\n  coil: {time_constant_us: 0.0}\n  detectors: [{name: HAADF, read_noise_counts: 4.0}]\n"
        "  dac_bits: 16\n"
    )
    address = start("simulators", "--config", str(config))
    assert command("--microscope", address, "--write", str(config), "--fov-nm", "8", "--pixels", "64") == 0
    written = yaml.safe_load(config.read_text())
    assert written["coils"]["time_constant_us"] == 1.0
    coil, (detector,) = written["stated"]["coil"], written["stated"]["detectors"]
    assert abs(coil["time_constant_us"] - 1.0) < 2 * coil["time_constant_sd_us"] < 0.6
    assert abs(detector["decay_us"] - 0.8) < 2 * detector["decay_sd_us"] < 0.6
    assert coil["time_constant_us"] + coil["delay_us"] + detector["decay_us"] == pytest.approx(1.8, abs=0.15)
    assert detector["counts_per_electron"] == pytest.approx(20.0, rel=0.2)
    assert written["stated"]["dac_bits"] == 16
    again = start("simulators", "--config", str(config))
    with MicroscopeLink(again) as link:
        stated = link.connect()
        assert stated.coil.time_constant_us == pytest.approx(coil["time_constant_us"])
        assert stated.detectors[0].decay_us == detector["decay_us"]


def test_a_microscope_behind_obi_is_driven_over_the_ordinary_link(start, tmp_path):
    device = start("simulators.obi.server", "--address", "tcp://127.0.0.1:0", "--loopback")
    microscope = start("scancontrol", "drive", "--config", str(hosted(tmp_path, device)))
    with MicroscopeLink(microscope) as link:
        capabilities = link.connect()
        assert (capabilities.dac_bits, capabilities.sample_clock_mhz) == (14, 8.0)
        recipe = PathRecipe(pattern=Raster(), shape=(64, 64), fov_nm=20.0, dwell_us=1.0, dac_bits=14, clock_mhz=8)
        link.start(link.register(recipe), 1, 0)
        samples = 0
        while not isinstance(event := link.receive(5.0), End):
            if isinstance(event, Chunk):
                samples += event.count
                link.acknowledge(event.series_id, event.frame, event.next_index)
        assert event.reason == "completed"
        assert samples == 64 * 64


def test_a_device_that_goes_away_ends_the_frame_as_a_fault_and_the_server_lives_on(tmp_path):
    with ExitStack() as stack:
        device = ChildProcess("obi", "simulators.obi.server", ("--address", "tcp://127.0.0.1:0", "--loopback"))
        stack.callback(device.stop)
        address = str(device.wait_ready(60)["address"])
        drive = ChildProcess("drive", "scancontrol", ("drive", "--config", str(hosted(tmp_path, address))))
        stack.callback(drive.stop)
        with MicroscopeLink(str(drive.wait_ready(60)["address"])) as link:
            link.connect()
            recipe = PathRecipe(pattern=Raster(), shape=(64, 64), fov_nm=20.0, dwell_us=500.0)
            path_id = link.register(recipe)
            link.start(path_id, 1, 0)
            while not isinstance(event := link.receive(5.0), End):
                assert event is not None
                if isinstance(event, Chunk):
                    device.stop()
            assert event.reason == "fault"
            assert "OBI device" in event.message
            link.start(path_id, 2, 0)
            while not isinstance(event := link.receive(5.0), End):
                assert event is not None
            assert event.reason == "fault"
            assert "no OBI server at" in event.message
            assert drive.poll() is None
