"""The second way to blank, on real sockets: it waits for nothing that the first one may be stuck in."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import zmq
from served_ramp import Ramp, microscope

from scancontrol.cli import main
from scancontrol.daemon import health
from scancontrol.daemon.health import HealthServer
from scancontrol.errors import LinkError
from scancontrol.link import blank
from scancontrol.link.blank import BlankLine, blank_now
from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe, Raster
from scancontrol.transport import doorman
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys
from scancontrol.wire import messages as m
from scancontrol.wire.framing import encode

pytestmark = pytest.mark.slow


def test_blank_from_a_terminal_ends_another_ones_scan_and_holds_the_beam(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = PathRecipe(pattern=Raster(), shape=(256, 256), fov_nm=100.0, dwell_us=1.0)
    slow = microscope(Ramp(pace_s=0.005), limits=m.Limits(chunk_samples=256))
    with slow as address, MicroscopeLink(address) as link:
        link.connect()
        link.start(link.register(recipe), 1, 0)
        while not isinstance(link.receive(1.0), Chunk):
            pass
        assert main(["blank", "--microscope", address]) == 0
        assert "confirms it" in capsys.readouterr().out
        while not isinstance(event := link.receive(20.0), End):
            assert event is not None
        assert event.reason == "operator_blank"
        assert "emergency blank by" in event.message


def test_it_needs_no_place_among_the_observers_and_no_free_lease() -> None:
    with zmq.Context() as context, microscope() as address, MicroscopeLink(address) as link:
        link.connect()
        idle = context.socket(zmq.DEALER)
        idle.linger = 0
        idle.connect(address)
        watchers = []
        for _ in range(256):
            watcher = context.socket(zmq.DEALER)
            watcher.linger = 0
            watcher.connect(address)
            hello = m.Hello(protocol_version=m.PROTOCOL_VERSION, software="t", name="idle", role="observer")
            watcher.send_multipart(encode(hello))
            assert watcher.poll(5000)
            watchers.append(watcher)
        with MicroscopeLink(address, observer=True) as late, pytest.raises(LinkError, match="observers"):
            late.connect(20.0)
        blank_now(address, name="test")
        for socket in (idle, *watchers):
            socket.close()


def test_it_goes_on_asking_until_a_microscope_that_was_away_confirms_it() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    address = f"tcp://127.0.0.1:{port}"
    line = BlankLine(address, name="early")
    assert not line.say(0.2), "nobody is there yet"
    confirmed: list[bool] = []
    asking = threading.Thread(target=lambda: confirmed.append(line.say(10.0)))
    asking.start()
    with microscope(address=address):
        asking.join(12.0)
    assert confirmed == [True]
    line.close()
    with pytest.raises(LinkError, match="NOT CONFIRMED"):
        blank_now(address, name="late", timeout_s=0.1)


def test_the_folder_of_the_recordings_says_where_the_microscope_is_and_which_keys_reach_it(tmp_path: Path) -> None:
    make_keys(tmp_path, "microscope")
    make_keys(tmp_path, "daemon")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "daemon.key").rename(allowed / "daemon.key")
    security = ServerSecurity(tmp_path / "microscope.key_secret", allowed)
    keys = ClientSecurity(tmp_path / "daemon.key_secret", tmp_path / "microscope.key")
    runs = tmp_path / "runs"
    runs.mkdir()
    with microscope(security=security) as address:
        server = HealthServer(lambda: None, folder=runs, microscope=address, keys=keys)  # type: ignore[arg-type,return-value]
        server.start(1)
        try:
            assert health.find_daemon(runs).microscope == address
            done = subprocess.run(
                [sys.executable, "-m", "scancontrol", "blank", "--runs", str(runs)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            server.stop()
    assert (done.returncode, "confirms it" in done.stdout) == (0, True), done.stderr


class Stuck(Ramp):
    """A blanker that does not return until it is let go."""

    def __init__(self) -> None:
        super().__init__(pace_s=0.001)
        self.let_go = threading.Event()

    def blank(self) -> None:
        if self.path is not None:
            self.let_go.wait(20)
        super().blank()


def test_nobody_is_told_that_the_beam_is_off_before_the_instrument_has_blanked_it() -> None:
    stuck = Stuck()
    recipe = PathRecipe(pattern=Raster(), shape=(256, 256), fov_nm=100.0, dwell_us=1.0)
    with microscope(stuck) as address, MicroscopeLink(address) as link, closing(BlankLine(address, name="eve")) as line:
        link.connect()
        link.start(link.register(recipe), 1, 0)
        while not isinstance(link.receive(1.0), Chunk):
            pass
        assert not line.say(0.4)
        until = time.monotonic() + 20
        while link.status is None or link.status.blanker != "blank":
            assert time.monotonic() < until
            link.receive(0.01)
        assert link.status.beam_on, "it was told to go off, and was not seen to"
        stuck.let_go.set()
        assert line.say(5.0)
        while link.status.beam_on:
            assert time.monotonic() < until
            link.receive(0.01)


def test_a_standing_line_is_not_taken_for_a_silent_stranger(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doorman, "_SILENT_S", 1.0)
    monkeypatch.setattr(blank, "_KEEP_S", 0.05)
    with microscope() as address:
        for kept in (True, False):
            caplog.clear()
            with closing(BlankLine(address, name="page")) as line:
                until = time.monotonic() + (2.0 if kept else 20.0)
                while time.monotonic() < until and "said nothing" not in caplog.text:
                    if kept:
                        line.keep()
                    time.sleep(0.01)
                assert ("said nothing" in caplog.text) is not kept
                assert line.say(20.0), "kept or not, it is heard"
