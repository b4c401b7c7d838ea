"""Instruments and peers that lie, beside a real daemon and its page: the third table of ``make chaos``.

The instrument of :mod:`benchmarks.chaos.liar` notes by itself what it exposes. Start is pressed, the lie is told, then
Blank is pressed. Whatever was lied: once the Blank is confirmed no sample is exposed, none is exposed twice, and the
plan's dose limit is not passed by more than a chunk.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq

from benchmarks._hostile import under
from benchmarks.chaos.liar import CURRENT_PA, INSTRUMENT_LIES, begun, exposed, exposed_twice, worst_area_e_per_a2
from benchmarks.chaos.processes import Browser, DaemonProcess, Process
from scancontrol.capabilities import Capabilities
from scancontrol.plan.plan import parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.wire.framing import SERVER_CONTROL, encode
from scancontrol.wire.messages import PROTOCOL_VERSION, Hello, Scan, SetBlanker, Welcome

__all__ = ["LIES", "run_lies"]

_PLAN = """
name: lies
shape: [64, 64]
fov_nm: 64.0
dwell_us: 500.0
frames: 12
dose_limits: {{total_e_per_a2: {limit}}}
patterns: [{{kind: serpentine}}]
"""
_ROOM = 1.5  # of the limit, over what the plan states to spend
_CHUNK = 1.1  # a limit is passed by at most what one chunk holds, a few samples of thousands
_LIE_S = 1.0
_DARK_S = 1.5
_CONFIRM_S = 30.0


@contextmanager
def _nothing_more(port: int) -> Iterator[None]:
    yield


@contextmanager
def _orders_of_an_observer(port: int) -> Iterator[None]:
    """Somebody without the lease who asks for light, as often as there is time for."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send_multipart(
            encode(Hello(protocol_version=PROTOCOL_VERSION, software="liar", name="eve", role="observer"))
        )
        if not peer.poll(5000):
            raise RuntimeError("no answer to an observer")
        welcome, _ = SERVER_CONTROL.decode(peer.recv_multipart())
        assert isinstance(welcome, Welcome)
        for request in range(1, 200):
            peer.send_multipart(encode(SetBlanker(request=request, state="auto")))
            scan = Scan(request=1000 + request, series_id=1, series_unique_id="x", frame=0, path_id="y", first_index=0)
            peer.send_multipart(encode(scan))
        yield


_Peers = Callable[[int], AbstractContextManager[None]]
LIES: dict[str, tuple[str, _Peers]] = {
    **{f"an instrument {lie}": (lie, _nothing_more) for lie in INSTRUMENT_LIES if lie != "the truth"},
    "an observer's laborious messages": ("the truth", lambda port: under("laborious messages", port)),
    "strangers' messages without end": ("the truth", lambda port: under("endless messages", port)),
    "hundreds of idle connections": ("the truth", lambda port: under("idle connections", port)),
    "an observer that asks for light": ("the truth", _orders_of_an_observer),
}


def run_lies(names: Iterable[str] = tuple(LIES)) -> list[dict[str, Any]]:
    """Tell each once; a row for each."""
    rows = []
    for name in names:
        row: dict[str, Any] = {"lie": name, "told": 0, "problems": []}
        try:
            with tempfile.TemporaryDirectory() as folder:
                row |= _tell(Path(folder), *LIES[name])
        except (RuntimeError, OSError) as error:
            row["problems"].append(f"{type(error).__name__}: {error}")
        rows.append(row)
    return rows


def _tell(folder: Path, lie: str, peers: _Peers) -> dict[str, Any]:
    log, plan, out = folder / "beam.jsonl", folder / "plan.yaml", folder / "out"
    log.touch()
    limit = _limit_e_per_a2()
    plan.write_text(_PLAN.format(limit=limit))
    with ExitStack() as stack:
        microscope = Process(["-m", "benchmarks.chaos.liar", lie, str(log)])
        stack.callback(microscope.end)
        address = json.loads(microscope.wait_for(r'^\{"ready".*').group())["address"]
        daemon = DaemonProcess(address, plan, out, folder / "disk", "--no-restorer", "--on-interrupted", "resume")
        stack.callback(daemon.end)
        browser = Browser(daemon.page)
        stack.callback(browser.close)
        browser.send(type="start", plan="lies", number=browser.number)
        _until(lambda: begun(log), "no scan begins")
        with peers(int(address.rsplit(":", 1)[1])):
            time.sleep(_LIE_S)
            browser.send(type="emergency_blank")
            asked = time.monotonic()
            _until(lambda: browser.status.get("orders", {}).get("blank") == "confirmed", "no confirmation", _CONFIRM_S)
            confirmed_s = time.monotonic() - asked
            offset = log.stat().st_size
            time.sleep(_DARK_S)
            after = exposed(log, offset)
        return {
            "told": 1,
            "confirmed_s": round(confirmed_s, 3),
            "exposed_after": after,
            "second_starts": max(0, len(list(out.glob("*.hspy"))) - 1),
            "exposed_twice": exposed_twice(log),
            "limits_passed": int(worst_area_e_per_a2(log) > limit * _CHUNK),
            "ended": browser.status.get("scan", {}).get("explanation", ""),
        }


def _limit_e_per_a2() -> float:
    known = Capabilities(name="liar", beam_current_pa=CURRENT_PA, longest_dwell_us=1e6)
    return _ROOM * PlannedScan(parse_plan(_PLAN.format(limit=1e30)), known).worst_area_e_per_a2


def _until(true: Callable[[], bool], otherwise: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.005)
