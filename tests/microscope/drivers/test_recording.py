"""A recording as an instrument has the duties of every other."""

from __future__ import annotations

import pytest
from instrument_duties import InstrumentDuties, Stand
from recording_tools import new_recording, samples_of, write_frame

from scancontrol.microscope.drivers.recording import Replay
from scancontrol.paths import PathRecipe, Raster, expand


class TestDuties(InstrumentDuties):
    """At the pace of the beam that was recorded."""

    @pytest.fixture
    def stand(self, tmp_path):
        path = expand(PathRecipe(pattern=Raster(), shape=(48, 48), fov_nm=16.0, dwell_us=50.0, dac_bits=16))
        recording = new_recording(tmp_path / "frame.hspy", [path], dwell_us=50.0, shape=(48, 48))
        write_frame(recording, 0, path, step=1000)
        recording.end_frame(0, "completed", exposed=path.count)
        recording.close("completed")
        instrument = Replay(tmp_path / "frame.hspy")
        yield Stand(instrument, lambda: instrument.lit, expected=lambda _: samples_of(0, 0, path.count), path=path)
        instrument.close()
