"""The beam, on real processes: the dead man, a client that wants too much, and what a running daemon says of itself."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks._watched_microscope import beam_record
from benchmarks.dead_man import BAR_MS
from benchmarks.dead_man import run as measure_dead_man
from scancontrol.cli import main
from scancontrol.daemon import health
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe, Raster, expand
from scancontrol.processes.parent import ChildProcess

pytestmark = pytest.mark.slow


@contextmanager
def watched(tmp_path: Path, *arguments: str) -> Iterator[tuple[str, Path]]:
    log = tmp_path / "beam.log"
    microscope = ChildProcess("microscope", "benchmarks._watched_microscope", [str(log), *arguments])
    try:
        yield str(microscope.wait_ready(60)["address"]), log
    finally:
        microscope.stop(2.0)


def test_the_beam_is_off_within_a_quarter_of_a_second_of_whatever_happens_to_the_daemon() -> None:
    figures = measure_dead_man({"SIGKILL": 1, "SIGSTOP": 2, "network cut": 2}, seed=4)
    assert sum(row["n"] for row in figures["rows"] if row["kind"] != "all") == 5
    assert figures["rows"][-1]["p100_ms"] <= BAR_MS
    assert figures["relit"] == 0


def test_a_client_that_checks_nothing_and_asks_without_end_never_passes_the_microscopes_limits(tmp_path: Path) -> None:
    recipe = PathRecipe(pattern=Raster(), shape=(64, 64), fov_nm=100.0, dwell_us=4.0)
    whole = expand(recipe).electrons(60.0)
    limit = 3.4 * whole
    refused = 0
    with watched(tmp_path, "--session-electrons", repr(limit)) as (address, log):
        with MicroscopeLink(address, operator="greedy") as link:
            link.connect()
            path_id = link.register(recipe)
            for frame in range(8):
                try:
                    link.start(path_id, 1, frame, area=f"another name each time {frame}")
                except InvalidInput as error:
                    refused += "session dose" in error.quantity
                    continue
                while not isinstance(event := link.receive(1.0), End):
                    if isinstance(event, Chunk):
                        link.acknowledge(event.series_id, event.frame, event.next_index)
        assert refused >= 1
    spent = float(log.read_text().split("\n")[-2].split()[2])  # by the instrument's own count
    assert 0.5 * limit < spent <= limit
    assert beam_record(log)[-1][0] == "closed"


def test_a_second_operator_is_told_the_first_ones_name_and_any_observer_can_blank(tmp_path: Path) -> None:
    recipe = PathRecipe(pattern=Raster(), shape=(512, 512), fov_nm=100.0, dwell_us=20.0)
    with watched(tmp_path) as (address, log), MicroscopeLink(address, operator="ada") as first:
        first.connect()
        first.start(first.register(recipe), 1, 0)
        with MicroscopeLink(address, operator="bob") as second, pytest.raises(LinkError, match="'ada'"):
            second.connect(20.0)
        while not isinstance(first.receive(20.0), Chunk):
            pass
        with MicroscopeLink(address, operator="eve", observer=True) as observer:
            observer.connect()
            observer.blank()
            assert beam_record(log)[-1][0] == "off"
        while not isinstance(event := first.receive(20.0), End):
            assert event is not None
        assert event.reason == "operator_blank"


@contextmanager
def demo(tmp_path: Path) -> Iterator[Path]:
    microscope = ChildProcess("microscope", "simulators", ["--fast"])
    daemon = None
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: p\nshape: [256, 256]\nfov_nm: 50.0\ndwell_us: 1.0\nframes: 3\npatterns: [{kind: raster}]\n")
    config = tmp_path / "daemon.yaml"
    try:
        address = microscope.wait_ready(60)["address"]
        config.write_text(
            f"microscope: {address}\nplans: [plan.yaml]\noutput: runs\nspecimen: {{id: grid-3, stage_um: {{x: 5.0}}}}\n"
            "page: {enabled: false}\nrestorer: {enabled: false}\n"
        )
        daemon = ChildProcess("daemon", "scancontrol", ["daemon", "--config", str(config), "--start"])
        yield tmp_path / "runs"
    finally:
        if daemon is not None:
            daemon.stop(3.0)
        microscope.stop(2.0)


def test_a_running_daemon_tells_the_whole_of_itself_and_takes_no_orders_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with demo(tmp_path) as runs:
        # What the microscope says of itself comes with its next heartbeat.
        snapshot = _when(runs, lambda s: s.scan.phase.value == "ended" and not s.microscope.status.beam_on)
        assert snapshot.scan.finish_reason == "completed"
        assert (snapshot.scan.samples_received, snapshot.scan.samples_lost) == (3 * 256 * 256, 0)
        assert snapshot.microscope.status.beam_on is False
        assert snapshot.microscope.status.operator == "operator"
        assert snapshot.dose.specimen == "grid-3"
        assert snapshot.dose.stage_um == (0.0, 5.0)
        assert snapshot.dose.area_e_per_a2 == pytest.approx(snapshot.dose.total_electrons / 500.0**2, rel=0.3)
        assert main(["status", "--runs", str(runs), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["scan"]["phase"] == "ended"
        address = health.find_daemon(runs).status
        host, port = address.split(":")
        assert health.ask(f"http://{address}/status").pid == health.ask(address).pid, "as the daemon prints it"
        for method, path, name, code in (
            ("GET", "/metrics", "127.0.0.1", 200),
            ("GET", "/metrics", "evil.example", 421),
            ("POST", "/status", "127.0.0.1", 501),
            ("GET", "/../secret", "127.0.0.1", 404),
        ):
            connection = http.client.HTTPConnection(host, int(port), timeout=5)
            connection.request(method, path, headers={"Host": name})
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            assert answer.status == code
            assert ("scancontrol_beam_on 0.0" in body) == (code == 200)
    with pytest.raises(LinkError, match="no daemon"):
        health.find_daemon(runs)


def _when(runs: Path, wanted) -> Snapshot:
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            snapshot = health.ask(health.find_daemon(runs).status)
        except LinkError:
            time.sleep(0.05)
            continue
        if wanted(snapshot):
            return snapshot
        time.sleep(0.05)
    raise AssertionError("the daemon did not come so far")


def test_the_doctor_says_what_to_do_and_fails_where_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = ["doctor", "--no-restorer", "--out", str(tmp_path / "runs"), "--microscope"]
    assert main([*nobody, "tcp://127.0.0.1:9"]) == 1
    said = capsys.readouterr().out
    assert "WRONG microscope" in said
    assert "→ start its server" in said
    assert main([*nobody, "tcp://192.0.2.1:5555"]) == 1
    assert "scancontrol keys" in capsys.readouterr().out
    with watched(tmp_path) as (address, _):
        assert main([*nobody, address]) == 0
    assert "nobody operates it" in capsys.readouterr().out
