"""Every decoder of the project as a function of bytes, with valid inputs to begin from.

A target raises only what is a finding: typed errors are answers. The same targets are run by hypothesis in the test
suite and by a coverage-guided fuzzer (:mod:`coverage_guided`).
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from plan_tools import read_points
from safetensors import safe_open
from safetensors.torch import save_file

from restore.generator.weights import _digest, load_weights, shipped
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.config import DaemonConfig
from scancontrol.daemon.page.messages import decode_from_page
from scancontrol.dose.ledger import DoseLedger, read_ledger
from scancontrol.errors import (
    InvalidInput,
    ProtocolError,
    RecordingError,
    ScanControlError,
    StorageError,
    VersionMismatch,
)
from scancontrol.files import config_file, load_yaml
from scancontrol.microscope.obi.commands import (
    Abort,
    Beam,
    BeamSelect,
    CommandParser,
    Flush,
    OutputMode,
    Synchronize,
    VectorPixel,
)
from scancontrol.microscope.obi.replies import ReplyReader, encode_pixels, sync_frame
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, expand, solve
from scancontrol.plan.plan import ScanPlan, parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingReader
from scancontrol.restoration import Provenance
from scancontrol.wire import messages as m
from scancontrol.wire import restoring
from scancontrol.wire.framing import CLIENT_CONTROL, CLIENT_DATA, SERVER_CONTROL, SERVER_DATA, Codec, encode, samples
from scancontrol.wire.registry import expand_recipe
from scancontrol.wire.server import ServerProtocol
from simulators.config import SimulatorConfig

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """``run`` takes any bytes; ``seeds`` are valid ones; ``factor`` bounds memory: limit = 1 MiB + factor · input."""

    run: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]
    factor: int = 64


RECIPE = solve(
    PathRecipe(pattern=Archimedean(coverage=CoverageGoal(value=0.3)), shape=(16, 16), fov_nm=16.0, dwell_us=2.0)
)


def _joined(parts: list[Any]) -> bytes:
    """Multipart messages as one input: the header's length, the header, the rest."""
    header, *rest = (bytes(part) for part in parts)
    return struct.pack("<I", len(header)) + header + b"".join(rest)


def _parted(data: bytes) -> list[bytes]:
    if len(data) < 4:
        return [data]
    length = struct.unpack_from("<I", data)[0] % (len(data) - 3)
    rest = data[4 + length :]
    return [data[4 : 4 + length], *([rest] if rest else [])]


# -- the wire to the microscope ---------------------------------------------------------------------------

_TOKEN = "ab" * 16
_CONTROL = (
    m.Hello(protocol_version=m.PROTOCOL_VERSION, software="1", name="ada", role="operator"),
    m.Heartbeat(session=_TOKEN, number=4, client_ns=5),
    m.Register(request=1, path_id=RECIPE.path_id, recipe=msgspec.to_builtins(RECIPE)),
    m.Register(request=9, path_id="cd" * 16, recipe={"pattern": {"kind": "points", "data": b""}}, data_bytes=16),
    m.Piece(path_id="cd" * 16, offset=0, data=b"12345678"),
    m.Scan(
        request=2, most_electrons=5.0, series_id=1, series_unique_id="u", frame=0, path_id=RECIPE.path_id, first_index=0
    ),
    m.Pause(request=3),
    m.Abort(request=4, reason="so"),
    m.Blank(request=5, name="ada"),
    m.SetBlanker(request=6, state="auto"),
    m.Goodbye(session=_TOKEN),
)
_CLIENT_DATA = (
    m.Attach(session=_TOKEN, next_sequence=None, have=(m.Have(series_unique_id="u", frame=0, next_index=3),), credit=4),
    m.Acknowledge(session=_TOKEN, next_sequence=1, credit_limit=9),
    m.Resend(session=_TOKEN, next_sequence=0),
)
_HEADER = m.ChunkHeader(
    sequence=1,
    series_id=1,
    series_unique_id="u",
    frame=0,
    path_id=RECIPE.path_id,
    first_index=0,
    count=3,
    channels=2,
    dtype="<u2",
    monotonic_ns=1,
    utc_ns=2,
    electrons=3.0,
    frame_electrons=3.0,
    session_electrons=3.0,
)
_END = m.End(
    sequence=2,
    series_id=1,
    series_unique_id="u",
    frame=0,
    path_id=RECIPE.path_id,
    reason="completed",
    message="",
    first_index=0,
    next_index=3,
    samples=3,
    electrons=3.0,
    monotonic_ns=3,
    utc_ns=4,
)
_WELCOME = m.Welcome(
    protocol_version=m.PROTOCOL_VERSION,
    software="1",
    server_id=_TOKEN,
    session=_TOKEN,
    resumed=False,
    data_address="tcp://127.0.0.1:5",
    capabilities=Capabilities(name="bench"),
    limits=m.Limits(),
)


def _codec(codec: Codec[Any]) -> Callable[[bytes], bool]:
    def decode(data: bytes) -> bool:
        try:
            message, payload = codec.decode(_parted(data))
        except (ProtocolError, VersionMismatch):
            return False
        if isinstance(message, m.ChunkHeader):
            assert samples(message, payload[0]).shape == (message.channels, message.count)
        return True

    return decode


def _server(data: bytes) -> bool:
    """A microscope's end that gets anything, from a stranger and from its operator, never raises and never unblanks."""
    server = ServerProtocol(
        Capabilities(name="bench"),
        server_id=_TOKEN,
        new_token=lambda: _TOKEN,
        software="1",
        data_address="tcp://127.0.0.1:5",
    )
    server.actions()
    server.blanked(0)
    if data[:1] > b"\x7f":
        server.receive_control(b"a", encode(_CONTROL[0]), 1)
    for now, part in enumerate(data[1:].split(b"\xc1\xc1"), 2):  # 0xc1 is the one byte that msgpack never uses
        server.receive_control(b"a", [part], now)
        server.receive_data(b"b", _parted(part), now)
        server.tick(now)
    assert not server.beam_on
    list(server.data_to_send())
    server.control_to_send()
    return True


def _recipe(data: bytes) -> bool:
    try:
        content = msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    try:
        path_id = msgspec.convert(content, PathRecipe).path_id  # honestly named, so that it is looked into
    except (msgspec.MsgspecError, RecursionError, ScanControlError):
        path_id = "0" * 32
    try:
        assert expand_recipe(path_id, content, 4096).count <= 4096
    except ScanControlError:
        return False
    return True


# -- the restorer's wire ----------------------------------------------------------------------------------

_RESTORED = restoring.Restored(
    request=1,
    stream="live",
    frame=0,
    path_id=RECIPE.path_id,
    complete=True,
    rows=2,
    cols=3,
    has_interval=True,
    made_by=Provenance(method="lite", face="faithful", samples_used=6),
    compute_ms=1.0,
    waited_ms=0.0,
)
_RESTORE = restoring.Restore(
    request=1, stream="live", frame=0, path_id=RECIPE.path_id, count=3, dtype="<u2", complete=True
)


def _restoring(codec: Codec[Any]) -> Callable[[bytes], bool]:
    def decode(data: bytes) -> bool:
        header, *rest = _parted(data)
        parts = [header]
        if rest:  # one or two payloads, as the header would have it
            half = len(rest[0]) // 2
            parts += [rest[0]] if data[:1] < b"\x80" else [rest[0][:half], rest[0][half:]]
        try:
            message, payload = codec.decode(parts)
        except ProtocolError:
            return False
        if isinstance(message, restoring.Restore):
            assert restoring.read_samples(message, payload).shape == (message.count,)
        elif isinstance(message, restoring.Restored):
            assert restoring.read_images(message, payload)[0].shape == (message.rows, message.cols)
        return True

    return decode


# -- the Open Beam Interface ------------------------------------------------------------------------------


_OBI = (Synchronize(0x1234), BeamSelect(Beam.ELECTRON), VectorPixel(1, 2, 3), Abort(), Flush())


def _obi_commands(data: bytes) -> bool:
    parser = CommandParser()
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        for command in parser.feed(piece):
            repr(command)
    return True


def _obi_replies(data: bytes) -> bool:
    reader = ReplyReader()
    control, data = data[:2], data[2:]
    mode = OutputMode(control[0] % 3) if control else OutputMode.SIXTEEN_BIT
    try:
        reader.expect_sync(0x1234, mode, None if len(control) < 2 or control[1] > 127 else control[1])
        for at in range(0, len(data), 7):
            reader.feed(data[at : at + 7])
            assert len(reader.take(3)) <= 3
    except ProtocolError:
        return False
    return True


# -- page, configurations, files --------------------------------------------------------------------------


def _page(data: bytes) -> bool:
    try:
        decode_from_page(data.decode("utf-8", "surrogateescape"))
    except ProtocolError:
        return False
    return True


def _ledger(data: bytes) -> bool:
    """A ledger's two files: the map's length first, then the map, then the journal."""
    folder = _FOLDER / "ledger"
    folder.mkdir(exist_ok=True)
    length = int.from_bytes(data[:4], "big") if len(data) >= 4 else 0
    files = {"map.npz": data[4 : 4 + length], "journal.jsonl": data[4 + length :]}
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)
        if content:
            (folder / name).write_bytes(content)
    try:
        assert read_ledger(folder).electrons >= 0
    except InvalidInput as error:
        return _readable(error)
    except StorageError:
        return False
    return True


def _ledger_seeds() -> tuple[bytes, ...]:
    path, seeds = expand(RECIPE), []
    for compacted in (False, True):
        folder = Path(tempfile.mkdtemp(prefix="fuzz-ledger-"))
        ledger = DoseLedger(folder, "grid")
        ledger.spend(ledger.ask("s", 0, path, 0, 10.0, (0.0, 0.0)), path.count, 1e6)
        if compacted:
            ledger.close()
            ledger = DoseLedger(folder, "grid")
        ledger.ask("s", 1, path, 0, 10.0, (0.0, 0.0))
        ledger._journal.close()
        one = (folder / "grid" / "map.npz").read_bytes() if compacted else b""
        seeds.append(len(one).to_bytes(4, "big") + one + (folder / "grid" / "journal.jsonl").read_bytes())
    return tuple(seeds)


_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def _written(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def _readable(error: InvalidInput) -> bool:
    """False: the input was refused. An error is for reading, whatever the input was."""
    assert len(str(error)) < 4000, f"an error of {len(str(error))} characters"
    return False


def _yaml(kind: Any) -> Callable[[bytes], bool]:
    def load(data: bytes) -> bool:
        try:
            load_yaml(_written(f"{kind.__name__}.yaml", data), kind)
        except InvalidInput as error:
            return _readable(error)
        return True

    return load


def _plan(data: bytes) -> bool:
    try:
        load_yaml(_written("plan.yaml", data), ScanPlan)
        parse_plan(data.decode("utf-8", "replace"))
    except InvalidInput as error:
        return _readable(error)
    return True


def _points(suffix: str) -> Callable[[bytes], bool]:
    def read(data: bytes) -> bool:
        try:
            read_points(_written(f"points.{suffix}", data))
        except InvalidInput as error:
            return _readable(error)
        return True

    return read


def read_all(path: Path) -> None:
    """Read everything that a recording holds.

    Raises:
        RecordingError: it cannot be read.
    """
    with RecordingReader(path) as read:
        read.verify()
        for frame in read.frames:
            read.samples(frame.frame)
            read.positions(frame.frame)
            read.partial(frame.frame)
            read.restoration(frame.frame)
            read.recipe(frame.frame)


def _recording(data: bytes) -> bool:
    try:
        read_all(_written("mutated.hspy", data))
    except RecordingError:
        return False
    return True


def _small_recording() -> bytes:
    from scancontrol.recording import record_plan

    path = _FOLDER / "whole.hspy"
    path.unlink(missing_ok=True)
    plan = ScanPlan(name="small", shape=(16, 16), fov_nm=8.0, dwell_us=1.0, patterns=(RECIPE.pattern,), frames=2)
    planned = PlannedScan(plan, Capabilities(name="bench"))
    with record_plan(path, planned, series_unique_id="u") as recording:
        for number in range(2):
            scan_path = planned.path(number)
            recording.begin_frame(number, scan_path)
            recording.write_chunk(number, 0, np.arange(scan_path.count, dtype="<u2")[None], 1, 2, 3.0)
            recording.end_frame(number, "completed", exposed=scan_path.count)
            recording.write_partial(number, np.ones((16, 16), np.float32))
    return path.read_bytes()


def _weights_notes(data: bytes) -> bool:
    """A weights file that says ``data`` of itself, with the hash that fits: whoever makes a file can compute one."""
    tensors = {"one": torch.ones(2)}
    text = data.decode("utf-8", "replace")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.safetensors"
        save_file(tensors, path, {"notes": text, "hash": _digest(tensors, text)})
        try:
            load_weights(path)
        except InvalidInput as error:
            return "do not fit their own" in str(error)  # the notes were accepted
    return True


def _true_notes() -> bytes:
    with safe_open(shipped("lite"), framework="pt") as file:
        return str(file.metadata()["notes"]).encode()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[0.1, 0.2], [0.3, 0.4]]))
    return file.getvalue()


def _shipped(*names: str) -> tuple[bytes, ...]:
    return tuple(config_file(name).read_bytes() for name in names)


TARGETS: dict[str, Target] = {
    "wire_client_control": Target(_codec(CLIENT_CONTROL), tuple(_joined(encode(x)) for x in _CONTROL)),
    "wire_client_data": Target(_codec(CLIENT_DATA), tuple(_joined(encode(x)) for x in _CLIENT_DATA)),
    "wire_server_control": Target(
        _codec(SERVER_CONTROL), (_joined(encode(_WELCOME)), _joined(encode(m.Done(request=1))))
    ),
    "wire_server_data": Target(_codec(SERVER_DATA), (_joined(encode(_HEADER, b"abcdefghijkl")), _joined(encode(_END)))),
    "wire_server": Target(
        _server, tuple(lead + b"\xc1\xc1".join(bytes(encode(x)[0]) for x in _CONTROL) for lead in (b"\x00", b"\xff"))
    ),
    "wire_recipe": Target(_recipe, (msgspec.msgpack.encode(msgspec.to_builtins(RECIPE)),), factor=4096),
    "restoring_from_daemon": Target(
        _restoring(restoring.FROM_DAEMON),
        (
            _joined(encode(_RESTORE, b"abcdef")),
            _joined(encode(restoring.Ping(sequence=1))),
            _joined(encode(restoring.Register(path_id=RECIPE.path_id, recipe=msgspec.to_builtins(RECIPE)))),
        ),
    ),
    "restoring_from_restorer": Target(
        _restoring(restoring.FROM_RESTORER),
        (
            _joined(encode(_RESTORED, bytes(24), bytes(24))),
            _joined(encode(restoring.Pong(sequence=1, waiting=0, restored=2))),
        ),
    ),
    "obi_commands": Target(_obi_commands, (b"".join(x.encode() for x in _OBI),)),
    "obi_replies": Target(
        _obi_replies, (b"\x00\xff" + sync_frame(0x1234) + encode_pixels(np.arange(9), OutputMode.SIXTEEN_BIT),)
    ),
    "page": Target(
        _page, (b'{"type":"start","plan":"a","number":0}', b'{"type":"ack","seq":7}', b'{"type":"emergency_blank"}')
    ),
    "yaml_daemon": Target(_yaml(DaemonConfig), _shipped("daemon.yaml"), factor=4096),
    "yaml_simulator": Target(
        _yaml(SimulatorConfig), _shipped("simulator.yaml", "simulator-difficult.yaml", "simulator-faults.yaml"), 4096
    ),
    "yaml_capabilities": Target(_yaml(Capabilities), _shipped("microscope.yaml"), factor=4096),
    "yaml_plan": Target(_plan, _shipped("plan-spiral-1-20.yaml", "plan-cycle.yaml", "plan-region.yaml"), factor=4096),
    "points_npy": Target(_points("npy"), (_npy(),)),
    "points_csv": Target(_points("csv"), (b"y,x\n0.1,0.2\n0.3,0.4 # so\n", b"0.1,0.2,3\n"), factor=512),
    "recording": Target(_recording, (_small_recording(),)),
    "ledger": Target(_ledger, _ledger_seeds(), factor=4096),
    "weights_notes": Target(_weights_notes, (_true_notes(),), factor=4096),
}
