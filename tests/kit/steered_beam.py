"""The daemon's beam thread over both real ends of the wire, one step at a time.

Real: orders, steering, beam thread, acquisition, recording, ledger, the link and both protocols. Stood for: sockets
and clocks (by :mod:`wire_pair`), the instrument, the restorer, whose work takes as long as a test wants, and the thread
that carries a Blank, which here has its say once a turn over a connection of its own. The beam's thread runs only while
the test waits for it, from one turn of its link to the next, so that what happens is the test's doing alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from wire_pair import MS, Client, Pair

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.beam_settings import BeamSettings
from scancontrol.daemon.claim import Claims
from scancontrol.daemon.config import DaemonConfig, SpecimenConfig
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.interrupted import find_unfinished
from scancontrol.daemon.order_file import OrderFile
from scancontrol.daemon.orders import Orders
from scancontrol.daemon.page.hub import Asked
from scancontrol.daemon.page.messages import Abort, Command, EmergencyBlank
from scancontrol.daemon.plans import PlanBook
from scancontrol.daemon.run import Run
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.daemon.steering import Steering
from scancontrol.errors import LinkError, OrderRefused
from scancontrol.link.link import MicroscopeLink
from scancontrol.paths import Raster, expand
from scancontrol.plan.plan import ScanPlan
from scancontrol.restoration import Look
from scancontrol.wire import messages as m
from scancontrol.wire.client import ClientProtocol, leads_to_light
from scancontrol.wire.framing import CLIENT_CONTROL, SERVER_CONTROL, encode
from scancontrol.wire.transitions import ClientState

TURN_MS = 5.0
SAMPLES = 16  # exposed in a turn
PLANS = {
    name: ScanPlan(name=name, shape=(16, 16), fov_nm=100.0, dwell_us=1.0, frames=frames, patterns=(Raster(),))
    for name, frames in (("survey", 1), ("series", 4))
}


class Killed(BaseException):
    """The daemon's process is gone."""


class Baton:
    """Two threads of which one runs at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder = "test"
        self.left = False  # whether the other thread has ended

    def _give(self, to: str) -> None:
        with self._changed:
            me, self._holder = self._holder, to
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._holder == me or (me == "test" and self.left), 60), "stuck"
            self._holder = me

    def to_beam(self) -> None:
        """The test lets the beam's thread go to its next turn."""
        if not self.left:
            self._give("beam")

    def to_test(self) -> None:
        """The beam's thread has come to its next turn."""
        self._give("test")

    def await_first(self) -> None:
        """The beam's thread waits to be let go for the first time."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._holder == "beam", 60)

    def leave(self) -> None:
        with self._changed:
            self.left = True
            self._changed.notify_all()


class SteeredPair(Pair):
    """A pair that knows of which series a sample was exposed, and which can be out of reach."""

    def __init__(self) -> None:
        self.exposures: list[tuple[str, int, int]] = []  # (series, frame, index)
        self.link = "up"  # or "cut", "stalled"
        self.frozen = False  # the microscope's process stands still
        self.lights_sent: list[m.Message] = []  # what leads to light, as it left the daemon
        super().__init__(m.Limits(chunk_samples=16))

    def turn(self, turns: int = 1, *, ms: float = TURN_MS, samples: int = SAMPLES) -> None:
        for _ in range(turns):
            if self.frozen or self.link == "stalled":
                self._half_turn(ms, 0 if self.frozen else samples)
                continue
            if self.link == "cut":
                self.network.to_server.clear()
                self.network.to_client.clear()
            before = len(self.instrument.exposed)
            scan = self.server._scanner.scan
            series = "" if scan is None else scan.request.series_unique_id
            super().turn(1, ms=ms, samples=samples)
            self.exposures += [(series, *where) for where in self.instrument.exposed[before:]]
            if self.link == "cut":
                self.network.to_server.clear()
                self.network.to_client.clear()

    def _half_turn(self, ms: float, samples: int) -> None:
        """Nothing passes. What is on its way stays there, and the microscope, unless it is frozen, goes on alone."""
        self.now_ns += int(ms * MS)
        before = len(self.instrument.exposed)
        scan = self.server._scanner.scan
        series = "" if scan is None else scan.request.series_unique_id
        for client in self.clients:
            self._client_out(client)
        if not self.frozen:
            self.instrument.expose(samples)
            self.server.tick(self.now_ns)
            self.act()
            while self.server.beam_on and self.read():
                self.act()
            self.act()
            self._server_out()
        self.exposures += [(series, *where) for where in self.instrument.exposed[before:]]

    def _client_out(self, client: Client) -> None:
        if isinstance(client, ShellClient):
            client.shell.withdraw_if_unwanted()
        before = len(self.network.to_server)
        super()._client_out(client)
        for socket, _, parts in list(self.network.to_server)[before:]:
            if socket == "control":
                message, _ = CLIENT_CONTROL.decode([bytes(part) for part in parts])
                if leads_to_light(message):
                    self.lights_sent.append(message)


class ShellClient(Client):
    """A client of the pair around a link's own protocol."""

    def __init__(self, pair: Pair, protocol: ClientProtocol, shell: PairShell) -> None:
        self.shell = shell
        self.given = protocol
        super().__init__(pair)

    def dial(self) -> None:
        self.protocol = self.given
        super().dial()

    def take(self) -> None:
        """The link's caller takes."""


class PairShell:
    """What :class:`~scancontrol.link.shell.ClientShell` is to a link, over the pair."""

    def __init__(self, beam: SteeredBeam, protocol: ClientProtocol, may_light: Callable[[], bool]) -> None:
        self._beam, self._protocol, self._may_light = beam, protocol, may_light
        self.client: ShellClient | None = None

    @property
    def heart(self) -> Any:
        return None if self.client is None or self.client.pulse is None else SimpleNamespace(pulse=self.client.pulse)

    def alive(self) -> None:
        pass

    def withdraw_if_unwanted(self) -> None:
        if not self._may_light():
            self._protocol.withdraw_lights()

    def send(self) -> None:
        self.withdraw_if_unwanted()

    def turn(self, wait_ms: int) -> None:
        if self.client is None:
            self.client = ShellClient(self._beam.pair, self._protocol, self)
        self._beam.gate()
        if self._protocol.state is ClientState.REFUSED:
            self.disconnect()

    def disconnect(self, linger_ms: int = 0) -> None:
        if self.client is not None:
            if self.client.alive and linger_ms:
                self._beam.pair._client_out(self.client)  # the goodbye
            self._beam.pair.clients.remove(self.client)
            self.client = None


class Outputs:
    """Restorations that take until the test says so."""

    def __init__(self, beam: SteeredBeam) -> None:
        self.sinks: tuple[Any, ...] = ()

    def finish(self, restore_s: float, draw_s: float, give_up: Callable[[], bool]) -> None:
        pass


class SteeredBeam:
    """One microscope, one folder, and a daemon that can be killed and begun again. ``turn`` lets time pass."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, on_interrupted: str = "resume") -> None:
        self.folder, self.pair, self._on_interrupted = folder, SteeredPair(), on_interrupted
        self.killed = False
        self.arming_turns = 0  # how long it takes to have a path ready
        self.confirmed_blanks = 0
        self.notices: list[str] = []
        self._blank_request = 0
        self._asked: dict[int, int] = {}
        for module in ("scancontrol.link.link", "scancontrol.daemon.beam", "scancontrol.daemon.arming"):
            monkeypatch.setattr(
                f"{module}.time", SimpleNamespace(monotonic=self.now_s, time=self.now_s, strftime=self.stamp)
            )
        monkeypatch.setattr(
            "scancontrol.link.link.ClientShell", lambda p, c, a, s, patience, may: PairShell(self, p, may)
        )
        monkeypatch.setattr(
            "scancontrol.acquisition.runner.PathsAhead", lambda recipes, ahead: PathsInTurn(self, recipes)
        )
        self.series = 0
        self.begin_daemon()

    def now_s(self) -> float:
        return self.pair.now_ns / 1e9

    def stamp(self, form: str, *args: Any) -> str:
        return f"t{self.pair.now_ns // MS}"

    # -- the daemon's process -------------------------------------------------------------------------------

    def begin_daemon(self) -> None:
        """A fresh process: it looks for what was cut off, as the service does."""
        self.baton, self.killed, self.catching_up = Baton(), False, []
        self.file = OrderFile(self.folder, "tcp://127.0.0.1:1")
        self.orders = Orders(self.file.keep)
        last = {"blank": ("operator_blank", "before"), "abort": ("aborted", "before")}.get(self.file.last)
        config = DaemonConfig(microscope="tcp://127.0.0.1:1", operator="tester")
        self.describing = Describing(config, self.folder)
        self.dose = DoseKeeper(self.describing.now.in_ledger(SpecimenConfig()), self.folder / "ledger")
        settings = BeamSettings(
            address="tcp://127.0.0.1:1",
            operator="ada",
            security=None,
            output=self.folder,
            keep_restorations="none",
            fsync=False,
            on_interrupted=self._on_interrupted,  # type: ignore[arg-type]
        )

        def note(text: str, level: str) -> None:
            self.notices.append(text)

        self.beam = BeamThread(
            settings,
            self.orders,
            lambda planned, recording: Outputs(self),  # type: ignore[arg-type,return-value]
            self,  # type: ignore[arg-type]
            self.dose,
            self.describing,
            note,
            interrupted=find_unfinished(self.folder, self.describing.now.specimen).ours,
            ends_as=last,
            link=self._link,
            clock=self.now_s,
            wait=self._wait,
        )
        self.shown, book = ShownChannel(), PlanBook(PLANS, self.folder / "presets", note)
        self.claims = Claims(self.orders, note, self.now_s)
        self.steering = Steering(
            self.orders, self.beam, book, self.shown, self.describing, self.claims, self._no_delay, self._no_look, note
        )
        work = self.beam._work

        def run() -> None:
            self.baton.to_test()
            try:
                work()
            finally:
                self.baton.leave()

        self.baton._holder = "beam"
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        with self.baton._changed:
            assert self.baton._changed.wait_for(lambda: self.baton._holder == "test", 60)

    def _link(self, address: str, **options: Any) -> MicroscopeLink:
        return PatientLink(address, **options)

    @staticmethod
    def _no_delay() -> float:
        raise OrderRefused("correct the delay: nothing is restored here")

    def _no_look(self, look: Look) -> None:
        raise OrderRefused("another look: nothing is restored")

    def finish(self, run: Run, status: AcquisitionStatus) -> None:
        """See :class:`~scancontrol.daemon.closing.Closing`: the run is caught up with until :meth:`caught_up`."""
        self.catching_up.append((run, status))

    def caught_up(self) -> None:
        while self.catching_up:
            run, status = self.catching_up.pop(0)
            run.recording.close(status.finish_reason or "completed", status.explanation)

    def kill_daemon(self) -> None:
        """SIGKILL: nothing more is said, nothing is tidied up."""
        self.killed = True
        for client in self.pair.clients:
            client.alive = False
        self.baton.to_beam()
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.pair.clients.clear()
        run = self.beam.run
        for recording in [*([run.recording] if run else []), *(run.recording for run, _ in self.catching_up)]:
            recording.abandon()
        self.file.close()
        self.dose.ledger._journal.close()

    def end(self) -> None:
        """End the process in an orderly way."""
        self.pair.link, self.pair.frozen = "up", False
        self.beam._stopping.set()
        run = self.beam.run
        if run is not None:
            run.acquisition.abort("the end")
        for _ in range(4000):
            if self.baton.left:
                break
            self.turn()
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.caught_up()
        self.file.close()
        self.dose.close()

    # -- time -------------------------------------------------------------------------------------------------

    def gate(self) -> None:
        """The beam's thread has come to where it would wait for its link."""
        if not self.killed:
            self.baton.to_test()
        if self.killed:
            raise Killed

    def _wait(self, seconds: float) -> bool:
        self.gate()
        return self.beam._stopping.is_set()

    def turn(self, turns: int = 1) -> None:
        """Time passes, everything in flight arrives, the beam's thread does what it has to do."""
        for _ in range(turns):
            self.pair.turn()
            self._blanker()
            self.baton.to_beam()
            self.orders.write_down()

    def until(self, done: Callable[[], object], turns: int = 1500) -> None:
        for _ in range(turns):
            if done():
                return
            self.turn()
        raise AssertionError(f"not after {turns} turns: {self.orders.snapshot}, {self.notices[-4:]}")

    def _blanker(self) -> None:
        """What :class:`~scancontrol.daemon.blanker.Blanker` does, a turn at a time."""
        network = self.pair.network
        for item in [item for item in network.to_client if item[1] == b"blank"]:
            network.to_client.remove(item)
            answer, _ = SERVER_CONTROL.decode(item[2])
            if isinstance(answer, m.Done) and answer.request in self._asked:
                self.orders.confirm(self._asked[answer.request])
        number = self.orders.blank_to_say
        if number is None:
            return
        self._blank_request += 1
        self._asked[self._blank_request] = number
        network.to_server.append(("control", b"blank", encode(m.Blank(request=self._blank_request, name="ada"))))

    # -- the operator -----------------------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        """What the page's server and the service do with a command."""
        if isinstance(command, EmergencyBlank | Abort):
            self.steering.stop(command)
        self.steering.carry_out(Asked(command))

    def blank_from_a_terminal(self) -> None:
        """``scancontrol blank``: the daemon is not asked."""
        self.pair.network.to_server.append(("control", b"terminal", encode(m.Blank(request=1, name="eve"))))


class PatientLink(MicroscopeLink):
    """A link whose first heartbeat was answered when it is connected, as its heart's own thread would have it."""

    def connect(self, timeout_s: float = 5.0) -> Any:
        capabilities = super().connect(timeout_s)
        for _ in range(200):
            if self.status is not None:
                return capabilities
            self._turn(1)
        raise LinkError("no heartbeat was answered")


class PathsInTurn:
    """:class:`~scancontrol.acquisition.ahead.PathsAhead` without a thread: the first path takes some turns."""

    def __init__(self, beam: SteeredBeam, recipes: Any) -> None:
        self._recipes, self._left = iter(recipes), beam.arming_turns
        self.exhausted = False

    def take(self) -> Any:
        if self._left > 0:
            self._left -= 1
            return None
        found = next(self._recipes, None)
        self.exhausted = found is None
        return None if found is None else expand(found)

    def stop(self) -> None:
        self.exhausted = True
