"""``scancontrol calibrate`` through whole instruments: the simulated microscope on its wire, and behind OBI's protocol.

Instruments and specimens are drawn as in :mod:`benchmarks.calibration_held`, six for each; processes of their own,
sockets, and the command's own scans with its second set. Behind OBI readings are never whole dwells late.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.calibration_held import Drawn, draw, summary
from scancontrol.calibration.scans import Calibration, calibrate
from scancontrol.link.link import MicroscopeLink
from scancontrol.processes.parent import ChildProcess
from simulators.config import SimulatorConfig, Stated

__all__ = ["run"]

INSTRUMENTS = 6
PIXELS = 64
CYCLE_US = 0.125  # of the device's converter, over which it averages
CODES_PER_ELECTRON = 200.0  # in one cycle
COUNTS_PER_CODE = 4  # the device's 14 bits are the upper ones of 16


def _started(stack: ExitStack, module: str, *arguments: str) -> str:
    child = ChildProcess(module, module, arguments)
    stack.callback(child.stop)
    return str(child.wait_ready(120)["address"])


def _wire(stack: ExitStack, folder: Path, drawn: Drawn) -> str:
    """The address of the simulated microscope, which states no afterglow."""
    unaware = msgspec.structs.replace(drawn.config.detectors[0].stated(), decay_us=0.0)
    config = msgspec.structs.replace(drawn.config, stated=Stated(detectors=(unaware,)))
    return _started(stack, "simulators", "--config", str(_written(folder, config)))


def _obi(stack: ExitStack, folder: Path, drawn: Drawn) -> str:
    """The address at which a driver serves a simulated device."""
    device = _started(
        stack,
        "simulators.obi.server",
        *("--address", "tcp://127.0.0.1:0", "--fast", "--field-nm", str(drawn.fov_nm)),
        *("--config", str(_written(folder, drawn.config))),
    )
    hosted = folder / "obi.yaml"
    hosted.write_text(
        f"address: tcp://127.0.0.1:0\nmicroscope:\n  driver: obi\n  address: {device}\n"
        f"  beam_current_pa: {drawn.config.beam.current_pa}\n  detector: {{name: HAADF, averages: true}}\n"
    )
    return _started(stack, "scancontrol", "drive", "--config", str(hosted))


def _written(folder: Path, config: SimulatorConfig) -> Path:
    file = folder / "simulator.yaml"
    file.write_bytes(msgspec.yaml.encode(config))
    return file


def _behind_obi(drawn: Drawn) -> Drawn:
    """The same instrument with a converter that averages a voltage, and without readings that are late."""
    detector = msgspec.structs.replace(
        drawn.config.detectors[0], counts_per_electron=CODES_PER_ELECTRON, read_noise_counts=0.0, late_samples=0
    )
    truth = drawn.truth | {"delay": 0.0, "gain": COUNTS_PER_CODE * CODES_PER_ELECTRON * CYCLE_US}
    truth["dark level"] *= COUNTS_PER_CODE
    truth["all"] = truth["lag"] + truth["afterglow"]
    config = msgspec.structs.replace(drawn.config, detectors=(detector,))
    return Drawn(drawn.specimen, config, drawn.fov_nm, drawn.dwell_us, truth)


def _calibrated(start: Callable[[ExitStack, Path, Drawn], str], drawn: Drawn) -> tuple[Calibration, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = start(stack, folder, drawn)
        began = time.perf_counter()
        with MicroscopeLink(address, operator="calibration", patience_s=300.0) as link:
            link.connect()
            return calibrate(link, drawn.fov_nm, PIXELS, drawn.dwell_us), time.perf_counter() - began


def run() -> dict[str, Any]:
    """For each of both: the share whose truth is within 1.96 standard deviations, and what of nothing was told."""
    random = np.random.default_rng(2)
    wire = [draw(random) for _ in range(INSTRUMENTS)]
    obi = [_behind_obi(draw(random)) for _ in range(INSTRUMENTS)]
    return {
        "wire": summary(wire, (_calibrated(_wire, drawn) for drawn in wire)),
        "obi": summary(obi, (_calibrated(_obi, drawn) for drawn in obi)),
    }
