"""Both real ends of the wire around a fake network, a real (if simple) instrument, and a clock that a test moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count

import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import ScanControlError
from scancontrol.paths import PathRecipe, Raster, ScanPath
from scancontrol.wire import messages as m
from scancontrol.wire.client import Chunk, ClientProtocol
from scancontrol.wire.pulse import Pulse
from scancontrol.wire.scanner import BeginScan, BlankBeam
from scancontrol.wire.server import ServerProtocol
from scancontrol.wire.transitions import ClientState

MS = 1_000_000
CAPABILITIES = Capabilities(name="pair", detectors=(DetectorChannel(name="HAADF"),))


def recipe(rows: int = 16, cols: int = 16, dwell_us: float = 1.0, fov_nm: float = 100.0) -> PathRecipe:
    return PathRecipe(pattern=Raster(), shape=(rows, cols), fov_nm=fov_nm, dwell_us=dwell_us)


class Ramp:
    """An instrument whose sample at index i is i mod 2¹⁶, and which remembers every exposure."""

    def __init__(self, electrons_per_sample: float = 100.0) -> None:
        self.capabilities = CAPABILITIES
        self.electrons_per_sample = electrons_per_sample
        self.on = False
        self.path: ScanPath | None = None
        self.next = self.frame = 0
        self.unread = 0  # exposed and not yet handed over
        self.exposed: list[tuple[int, int]] = []  # (frame, index) in the order of exposure
        self.begins: list[tuple[int, int]] = []  # (frame, first index)
        self.blanks = 0

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        assert self.unread == 0, "samples were left behind"
        self.path, self.next, self.frame, self.on = path, first_index, frame, True
        self.begins.append((frame, first_index))

    def expose(self, samples: int) -> None:
        """Time passes: the beam, where it is on, exposes so many samples more."""
        if self.on and self.path is not None:
            samples = min(samples, self.path.count - self.next - self.unread)
            first = self.next + self.unread
            self.exposed.extend((self.frame, index) for index in range(first, first + samples))
            self.unread += samples
            if self.next + self.unread == self.path.count:
                self.on = False

    def read(self, max_samples: int) -> np.ndarray | None:
        n = min(max_samples, self.unread)
        if n == 0:
            return None
        values = (np.arange(self.next, self.next + n) % 65536).astype("<u2")[None]
        self.next += n
        self.unread -= n
        return values

    def blank(self) -> None:
        self.on = False
        self.blanks += 1


class Network:
    """Messages in flight. By default it delivers all of them, once and in order."""

    def __init__(self) -> None:
        self.to_server: deque[tuple[str, bytes, list]] = deque()  # (socket, connection, parts)
        self.to_client: deque[tuple[str, bytes, list]] = deque()
        self.mangle: Callable[[list], list[list]] = lambda parts: [parts]  # of data messages to the client


class Client:
    """A client machine and its connections; ``seen`` is what its caller got."""

    names = count(1)

    def __init__(self, pair: Pair, name: str = "ada", role: str = "operator", **options) -> None:
        self.pair = pair
        self.protocol = ClientProtocol(name, role, **options)
        self.pulse: Pulse | None = None
        self.beats = True
        self.alive = True
        self.seen: list = []
        self.acknowledges = True
        self.reads = True
        self.control = self.data = self.heart = b""
        pair.clients.append(self)
        self.dial()

    def dial(self) -> None:
        """New connections, as the shell makes them when the machine is offline."""
        self._connections()
        self.pulse = None
        self.protocol.connect(self.pair.now_ns)

    def break_connections(self) -> None:
        """TCP resets all connections; ZeroMQ makes new ones and says nothing. What was in flight is gone."""
        old = (self.control, self.data, self.heart)
        for queue in (self.pair.network.to_server, self.pair.network.to_client):
            for item in [item for item in queue if item[1] in old]:
                queue.remove(item)
        self._connections()

    def break_data_connection(self) -> None:
        """The same for the data connection alone."""
        self.data = f"d{next(self.names)}".encode()

    def _connections(self) -> None:
        number = next(self.names)
        self.control, self.data, self.heart = (f"{kind}{number}".encode() for kind in ("c", "d", "h"))

    def ask(self, kind: type[m.Message], **fields) -> int:
        return self.protocol.request(kind, **fields)

    def does(self, kind: type[m.Message], **fields) -> m.Done | m.Refused:
        """Ask, and run the pair until the answer is there; the beam exposes nothing meanwhile."""
        number = self.ask(kind, **fields)
        for _ in range(50):
            self.pair.turn(1, samples=0)
            answer = self.protocol.answer(number)
            if answer is not None:
                return answer
        raise AssertionError("no answer")

    def register(self, path_recipe: PathRecipe) -> str:
        answer = self.does(m.Register, path_id=path_recipe.path_id, recipe=msgspec.to_builtins(path_recipe))
        assert isinstance(answer, m.Done), answer
        return path_recipe.path_id

    def scan(self, path_id: str, frame: int = 0, first_index: int = 0, **fields) -> m.Done | m.Refused:
        return self.does(
            m.Scan, series_id=1, series_unique_id="s1", frame=frame, path_id=path_id, first_index=first_index, **fields
        )

    def take(self) -> None:
        while self.reads and (event := self.protocol.next_event()) is not None:
            self.seen.append(event)
            if isinstance(event, Chunk) and self.acknowledges:
                self.protocol.acknowledge(event.series_id, event.frame, event.next_index)

    def of(self, kind: type) -> list:
        return [event for event in self.seen if isinstance(event, kind)]

    def of_chunks(self, frame: int) -> list[Chunk]:
        return [chunk for chunk in self.of(Chunk) if chunk.frame == frame]

    def samples(self, frame: int = 0) -> list[int]:
        """Indices of the samples received of a frame, in order; their values are checked on the way."""
        indices: list[int] = []
        for chunk in self.of_chunks(frame):
            expected = np.arange(chunk.first_index, chunk.next_index)
            np.testing.assert_array_equal(chunk.values[0], expected % 65536)
            indices.extend(expected.tolist())
        return indices


class Pair:
    """The microscope's end, its instrument, and any number of clients."""

    def __init__(self, limits: m.Limits | None = None, dose_limits: DoseLimits | None = None, **options) -> None:
        self.now_ns = 1_000 * MS
        self.limits = limits or m.Limits(chunk_samples=16)
        self.instrument = Ramp(**options)
        self.dose_limits = dose_limits
        self.network = Network()
        self.clients: list[Client] = []
        self.restarts = 0
        self.server = self._new_server()

    def _new_server(self) -> ServerProtocol:
        self.restarts += 1
        tokens = (f"{self.restarts:08x}{number:08x}" for number in count(1))
        return ServerProtocol(
            CAPABILITIES,
            server_id=f"{self.restarts:032x}",
            new_token=lambda: next(tokens),
            software="test",
            data_address="inproc://data",
            limits=self.limits,
            dose_limits=self.dose_limits,
        )

    def restart_server(self) -> None:
        """The microscope's server is killed and started again."""
        self.network.to_server.clear()
        self.network.to_client.clear()
        self.instrument.blank()
        self.instrument.unread = 0
        self.server = self._new_server()
        self.act()

    def act(self) -> None:
        """What serve.py does with actions."""
        while actions := self.server.actions():
            for action in actions:
                if isinstance(action, BlankBeam):
                    self.instrument.blank()
                    while self.read():
                        pass
                    self.server.blanked(self.now_ns)
                elif isinstance(action, BeginScan):
                    self.instrument.begin(action.path, action.first_index, action.frame)
                else:
                    path = cells = error = None
                    try:
                        path, cells = action.carry_out()
                    except ScanControlError as raised:
                        error = raised
                    self.server.expanded(action.path_id, path, cells, error)
        self.server.dark()

    def read(self) -> bool:
        budget = self.server.read_budget()
        values = self.instrument.read(budget) if budget else None
        if values is None:
            return False
        electrons = values.shape[1] * self.instrument.electrons_per_sample
        self.server.exposed(values, electrons, self.now_ns, self.now_ns)
        return True

    def turn(self, turns: int = 1, *, ms: float = 1.0, samples: int = 16) -> None:
        """Time passes, everything in flight arrives, both ends do what their shells would do."""
        for _ in range(turns):
            self.now_ns += int(ms * MS)
            self.instrument.expose(samples)
            for client in self.clients:
                self._client_out(client)
            while self.network.to_server:
                socket, connection, parts = self.network.to_server.popleft()
                receive = self.server.receive_data if socket == "data" else self.server.receive_control
                receive(connection, [bytes(part) for part in parts], self.now_ns)
            self.server.tick(self.now_ns)
            self.act()
            while self.server.beam_on and self.read():
                self.act()
            self.act()
            self._server_out()
            self.act()
            for client in self.clients:
                self._client_in(client)

    def _server_out(self) -> None:
        for connection, parts in self.server.control_to_send():
            self.network.to_client.append(("control", connection, parts))
        known = {client.data for client in self.clients}
        for connection, parts in self.server.data_to_send():
            if connection not in known:
                self.server.undeliverable(connection, self.now_ns)
                break
            for mangled in self.network.mangle(parts):
                self.network.to_client.append(("data", connection, mangled))

    def _client_out(self, client: Client) -> None:
        if not client.alive:
            return
        protocol = client.protocol
        protocol.tick(self.now_ns)
        if protocol.state is ClientState.OFFLINE:
            client.dial()
        for parts in protocol.control_to_send():
            self.network.to_server.append(("control", client.control, parts))
        for parts in protocol.data_to_send(self.now_ns):
            self.network.to_server.append(("data", client.data, parts))
        welcome = protocol.welcome
        if welcome is not None and (client.pulse is None or client.pulse._session != welcome.session):
            client.pulse = Pulse(welcome.session, self.limits.heartbeat_ms * MS, 3_000 * MS)
        if client.pulse is not None and client.beats:
            beat = client.pulse.heartbeat(self.now_ns, self.now_ns)
            if beat is not None:
                self.network.to_server.append(("control", client.heart, beat))

    def _client_in(self, client: Client) -> None:
        mine = [item for item in self.network.to_client if item[1] in (client.control, client.data, client.heart)]
        for item in mine:
            self.network.to_client.remove(item)
            _, connection, parts = item
            if not client.alive:
                continue
            if connection == client.heart and client.pulse is not None:
                client.pulse.receive(parts, self.now_ns)
            elif connection == client.data:
                client.protocol.receive_data(parts, self.now_ns)
            else:
                client.protocol.receive_control(parts, self.now_ns)
        if not client.alive:
            return
        if client.pulse is not None and client.pulse.status is not None:
            client.protocol.heard(client.pulse.status, client.pulse.status_ns)
            if client.pulse.rejected:
                client.pulse.rejected = False
                client.protocol.session_unknown()
        client.take()

    def until(self, done: Callable[[], bool], turns: int = 400, **options) -> None:
        for _ in range(turns):
            if done():
                return
            self.turn(1, **options)
        raise AssertionError(f"not done after {turns} turns; microscope {self.server.state}")

    def ready(self, client: Client) -> Client:
        self.until(lambda: client.protocol.state is ClientState.READY)
        return client


def ends(client: Client) -> list[tuple[int, str, int]]:
    return [(end.frame, end.reason, end.next_index) for end in client.of(m.End)]
