"""Every driver on hardware that is not there, slow in its calls, hosted with its beam on record.

A process of its own: ``python -m benchmarks._stand_ins NAME LOG``. The record is of the hardware's own beam, looked at
every half millisecond: ``on NS`` and ``off NS``, as :func:`benchmarks._watched_microscope.beam_record` reads them.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks._ramp import RampInstrument
from scancontrol.microscope.drivers.direct_electron import DirectElectronConfig, DirectElectronInstrument
from scancontrol.microscope.drivers.nidaq import NidaqInstrument
from scancontrol.microscope.drivers.nidaq_config import NidaqConfig
from scancontrol.microscope.drivers.nidaq_tasks import AxisWiring, Wiring
from scancontrol.microscope.drivers.obi import ObiConfig, ObiInstrument
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block, Instrument
from scancontrol.paths import ScanPath
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from simulators.config import SimulatorConfig, Stated
from simulators.microscope import SimulatedMicroscope
from simulators.obi.device import Loopback, ObiDevice
from simulators.obi.server import ObiServer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "kit"))  # the hardware that the drivers' tests have

from fake_card import FakeCard
from fake_generator import FakeGenerator

__all__ = ["STAND_INS"]

SLOW_S = 0.02
"""What a call of slow hardware costs; the driver is to bear it. A driver's own call may take 50 ms."""

_LOOK_S = 0.0005
_AXIS = {"volts_per_field": 6.0, "lowest_volts": -3.0, "highest_volts": 3.5}
_Lit = Callable[[], bool]


class Slow:
    """Another instrument, each of whose reads takes ``seconds`` longer."""

    def __init__(self, instrument: Instrument, seconds: float) -> None:
        self._instrument, self._seconds = instrument, seconds
        self.capabilities = instrument.capabilities
        self.begin: Callable[[ScanPath, int, int], None] = instrument.begin
        self.blank, self.close = instrument.blank, instrument.close

    def read(self, max_samples: int) -> Block | None:
        """As the other one, later."""
        time.sleep(self._seconds)
        return self._instrument.read(max_samples)


def _simulator(stack: ExitStack) -> tuple[Instrument, _Lit]:
    instrument = SimulatedMicroscope(SimulatorConfig(stated=Stated(longest_dwell_us=1e6)))
    return Slow(instrument, SLOW_S), lambda: instrument.lit


def _generic(stack: ExitStack) -> tuple[Instrument, _Lit]:
    instrument = RampInstrument(None)
    return Slow(instrument, SLOW_S), lambda: instrument.lit


def _nidaq(stack: ExitStack) -> tuple[Instrument, _Lit]:
    wiring = Wiring(
        x=AxisWiring(channel="Dev1/ao0", park_volts=3.5, **_AXIS),
        y=AxisWiring(channel="Dev1/ao1", park_volts=0.0, **_AXIS),
        inputs=("Dev1/ai0",),
    )
    card = FakeCard(wiring, call_s=SLOW_S)
    config = NidaqConfig(wiring=wiring, rate_khz=50.0, buffer_ms=400.0, generation="continuous")
    return NidaqInstrument(config, tasks=card), card.is_lit


def _obi(stack: ExitStack) -> tuple[Instrument, _Lit]:
    device = ObiDevice(Loopback(), relay_ms=0.0)
    server = ObiServer(device, "tcp://127.0.0.1:0", realtime=True)
    ending = threading.Event()
    thread = threading.Thread(target=server.serve, args=(ending.is_set,))
    thread.start()
    stack.callback(thread.join)
    stack.callback(ending.set)
    return Slow(ObiInstrument(ObiConfig(address=server.address)), SLOW_S), lambda: device.lit


def _direct_electron(stack: ExitStack) -> tuple[Instrument, _Lit]:
    generator = FakeGenerator(call_s=SLOW_S)
    return DirectElectronInstrument(DirectElectronConfig(), client=generator), generator.is_lit


STAND_INS: dict[str, Callable[[ExitStack], tuple[Instrument, _Lit]]] = {
    "simulator": _simulator,
    "generic host": _generic,
    "NI-DAQ": _nidaq,
    "Open Beam Interface": _obi,
    "Direct Electron": _direct_electron,
}


def _watch(is_lit: _Lit, log: Path, ending: threading.Event) -> None:
    was = False
    with log.open("a", buffering=1) as record:
        while not ending.wait(_LOOK_S):
            lit = is_lit()
            if lit is not was:
                was = lit
                record.write(f"{'on' if lit else 'off'} {time.monotonic_ns()}\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=STAND_INS)
    parser.add_argument("log", type=Path)
    add_follow_stdin(parser)
    arguments = parser.parse_args()
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    ending = threading.Event()
    with ExitStack() as stack:
        instrument, is_lit = STAND_INS[arguments.name](stack)
        watcher = threading.Thread(target=_watch, args=(is_lit, arguments.log, ending))
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(ending.set)
        serve(instrument, shutdown=shutdown.requested, on_ready=lambda address: announce("microscope", address=address))


if __name__ == "__main__":
    main()
