"""Faults on purpose: each does what its name says, and the link above comes through as the documentation promises."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from simulator_tools import config, path

from scancontrol.errors import InvalidInput, VersionMismatch
from scancontrol.link.link import Chunk, End, MicroscopeLink, Notice
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import BeamOff, Overrun
from simulators.faults import Fault, FaultPlan, LinkFaults
from simulators.microscope import SimulatedMicroscope


def filtered(fault: Fault, messages: int = 6, step_s: float = 0.1) -> list[tuple[float, int]]:
    """(delay, message) of everything that leaves, when message 2 is reached with ``fault`` waiting."""
    plan = FaultPlan([fault])
    link = LinkFaults(plan)
    out = []
    for number in range(messages):
        plan.reach(0, number)
        out += [(delay, parts[0]) for delay, parts in link.filter([number], number * step_s)]
    return out


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(kind="drop", sample=2), [(0, 0), (0, 1), (0, 3), (0, 4), (0, 5)]),
        (Fault(kind="drop", sample=2, count=3), [(0, 0), (0, 1), (0, 5)]),
        (Fault(kind="duplicate", sample=2), [(0, 0), (0, 1), (0, 2), (0, 2), (0, 3), (0, 4), (0, 5)]),
        (Fault(kind="reorder", sample=2), [(0, 0), (0, 1), (0, 3), (0, 2), (0, 4), (0, 5)]),
        (Fault(kind="delay", sample=2, duration_s=0.15), [(0, 0), (0, 1), (0.15, 2), (0.15, 3), (0, 4), (0, 5)]),
        (Fault(kind="link_cut", sample=2, duration_s=0.25), [(0, 0), (0, 1), (0, 5)]),
    ],
)
def test_a_fault_of_the_link_changes_what_leaves(fault, expected):
    assert filtered(fault) == expected


def test_faults_begin_when_the_scan_gets_there_and_each_only_once():
    plan = FaultPlan([Fault(kind="stall", frame=1, sample=100), Fault(kind="drop", frame=0, sample=7)])
    assert plan.next_sample(0, 0) == 7
    plan.reach(0, 6)
    assert plan.take("stall", "drop") == []
    plan.reach(0, 7)
    assert [fault.kind for fault in plan.take("stall", "drop")] == ["drop"]
    assert plan.next_sample(0, 7) is None
    plan.reach(1, 100)
    assert [fault.kind for fault in plan.take("stall", "drop")] == ["stall"]
    assert plan.take("stall", "drop") == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda: Fault(kind="earthquake"), "earthquake"),
        (lambda: Fault(kind="drop", count=0), "count"),
        (lambda: Fault(kind="stall", duration_s=float("nan")), "duration_s"),
        (lambda: Fault(kind="crash", restart_after_s=-1.0), "restart_after_s"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_name(fault, named):
    with pytest.raises(InvalidInput, match=named):
        fault()


def read_all(microscope: SimulatedMicroscope, scan, deadline_s: float = 5.0) -> list[np.ndarray]:
    microscope.begin(scan, 0, 0)
    blocks, left, until = [], scan.count, time.monotonic() + deadline_s
    while left and time.monotonic() < until:
        block = microscope.read(512)
        if block is not None:
            blocks.append(block.values)
            left -= block.values.shape[1]
    return blocks


def test_a_detector_sticks_from_exactly_its_sample_for_exactly_so_long():
    scan = path()
    clean = np.concatenate(read_all(SimulatedMicroscope(config()), scan), axis=1)[0]
    fault = Fault(kind="stuck_detector", sample=700, count=900)
    stuck = np.concatenate(read_all(SimulatedMicroscope(config(faults=(fault,))), scan), axis=1)[0]
    np.testing.assert_array_equal(stuck[:701], clean[:701])
    assert (stuck[700:1600] == clean[700]).all()
    np.testing.assert_array_equal(stuck[1600:], clean[1600:])


def test_a_blind_detector_sends_nan_as_floats_and_recovers():
    scan = path()
    blocks = read_all(SimulatedMicroscope(config(faults=(Fault(kind="nan_detector", sample=700, count=900),))), scan)
    values = np.concatenate([block.astype(np.float32) for block in blocks], axis=1)[0]
    assert np.isnan(values[700:1600]).all()
    assert np.isfinite(values[:700]).all()
    assert np.isfinite(values[1600:]).all()
    assert {block.dtype.str for block in blocks} == {"<f4"}  # one kind of samples in all frames


@pytest.mark.parametrize(
    ("kind", "why"), [("beam_trip", "tripped"), ("operator_blank", "operator"), ("overrun", "FIFO")]
)
def test_a_fault_of_the_column_blanks_and_says_why(kind, why):
    microscope = SimulatedMicroscope(config(faults=(Fault(kind=kind, sample=1000),)))
    scan = path()
    microscope.begin(scan, 0, 0)
    received = 0
    while received < 1000:
        received += microscope.read(300).values.shape[1]
    assert received == 1000
    with pytest.raises((Overrun, BeamOff), match=why):
        microscope.read(300)
    assert microscope.read(300) is None
    hit = microscope.exposure.dose.electrons.sum()
    assert hit == pytest.approx(scan.electrons(40.0) * 1000 / scan.count, rel=1e-3)


def test_a_skewed_clock_runs_away_from_the_true_one():
    fault = Fault(kind="clock_skew", sample=0, skew_ppm=1e5, skew_ns=5_000_000_000)
    clock = {"now": 0}
    microscope = SimulatedMicroscope(config(faults=(fault,)), clock_ns=lambda: clock["now"], sleep=lambda s: None)
    microscope.begin(path(), 0, 0)
    clock["now"] = 1_000_000_000
    assert microscope.read(10).monotonic_ns == 1_000_000_000 + 5_000_000_000 + 100_000_000


# -- on real sockets ----------------------------------------------------------------------------------


@contextmanager
def served(*faults: Fault, **changes: object) -> Iterator[str]:
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    plan = FaultPlan(faults)
    microscope = SimulatedMicroscope(config(faults=faults, **changes), plan=plan)
    thread = threading.Thread(
        target=serve,
        args=(microscope,),
        kwargs={"shutdown": stop.is_set, "on_ready": ready.put, "transport_faults": LinkFaults(plan)},
    )
    thread.start()
    try:
        yield ready.get(timeout=10)
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def scanned(link: MicroscopeLink, frames: int = 2, pixels: int = 256, timeout_s: float = 25.0):
    """Scan some frames: samples (frames, n) as received, their ends, and the notices on the way."""
    scan = path(pixels=pixels)
    path_id = link.register(scan.recipe)
    for frame in range(frames):
        link.start(path_id, 1, frame)
    values = np.full((frames, scan.count), -1.0)
    times, ends, notices = [], [], []
    deadline = time.monotonic() + timeout_s
    while len(ends) < frames:
        assert time.monotonic() < deadline, f"{len(ends)} of {frames} ends"
        event = link.receive(0.2)
        if isinstance(event, Chunk):
            part = values[event.frame, event.first_index : event.next_index]
            assert (part == -1).all()  # never the same sample twice
            part[:] = event.values[0]
            times.append(event.monotonic_ns)
            link.acknowledge(1, event.frame, event.next_index)
        elif isinstance(event, End):
            ends.append(event)
        elif isinstance(event, Notice):
            notices.append(event)
    return values, ends, notices, times


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="drop", sample=20_000, count=2),
        Fault(kind="duplicate", sample=20_000, count=3),
        Fault(kind="reorder", sample=20_000, count=2),
        Fault(kind="delay", sample=20_000, duration_s=0.3),
        Fault(kind="link_cut", sample=20_000, duration_s=0.5),
        Fault(kind="stall", sample=20_000, duration_s=0.4),
    ],
    ids=lambda fault: fault.kind,
)
def test_whatever_the_link_does_every_sample_arrives_once(fault):
    with served() as address, MicroscopeLink(address) as link:
        link.connect()
        clean, *_ = scanned(link)
    with served(fault) as address, MicroscopeLink(address) as link:
        link.connect()
        begun = time.monotonic()
        values, ends, _, _ = scanned(link)
        took_s = time.monotonic() - begun
    assert [end.reason for end in ends] == ["completed", "completed"], ends
    np.testing.assert_array_equal(values, clean)
    if fault.kind in ("delay", "stall"):
        assert took_s > fault.duration_s


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason"), [("beam_trip", "fault"), ("operator_blank", "operator_blank"), ("overrun", "overrun")]
)
def test_a_frame_that_the_column_ends_says_so_and_keeps_its_samples(kind, reason):
    with served(Fault(kind=kind, sample=30_000)) as address, MicroscopeLink(address) as link:
        link.connect()
        values, ends, _, _ = scanned(link, frames=1)
        assert (ends[0].reason, ends[0].next_index) == (reason, 30_000)
        assert (values[0, :30_000] >= 0).all()
        assert (values[0, 30_000:] == -1).all()


@pytest.mark.slow
def test_nan_and_a_skewed_clock_pass_through_as_they_are():
    faults = (
        Fault(kind="nan_detector", sample=20_000, count=5000),
        Fault(kind="clock_skew", sample=40_000, skew_ns=10**9),
    )
    with served(*faults) as address, MicroscopeLink(address) as link:
        link.connect()
        values, ends, _, times = scanned(link, frames=1)
    assert ends[0].reason == "completed"
    assert np.isnan(values[0, 20_000:25_000]).all()
    assert np.isfinite(np.delete(values[0], np.s_[20_000:25_000])).all()
    assert np.diff(times).max() > 0.9e9


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "simulators", "--fast", "--follow-stdin", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child, json.loads(child.stdout.readline())["address"]
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()
        child.stderr.close()


SMALL_YAML = "pace: fast\nspecimen: {kind: crystal, size_nm: 3.0, thickness_nm: 4.0}\n"


@pytest.mark.slow
def test_a_server_that_crashes_and_returns_is_another_one_and_scans_again(tmp_path):
    file = tmp_path / "simulator.yaml"
    file.write_text(SMALL_YAML + "faults: [{kind: crash, frame: 1, sample: 30000, restart_after_s: 0.3}]\n")
    # One chunk of credit: the second frame is not reached before both were asked for and the first is taken.
    with process("--config", str(file)) as (child, address), MicroscopeLink(address, window=1) as link:
        link.connect()
        values, ends, notices, _ = scanned(link, frames=2)
        assert (values[0] >= 0).all()
        assert ends[1].reason != "completed"
        assert (values[1, 30_000:] == -1).all()
        assert any(notice.kind == "restarted" for notice in notices)
        values, ends, _, _ = scanned(link, frames=1)
        assert ends[0].reason == "completed"
        assert (values >= 0).all()
        assert child.poll() is None


@pytest.mark.slow
def test_a_microscope_of_another_version_is_refused_by_both_ends(tmp_path):
    file = tmp_path / "simulator.yaml"
    file.write_text(SMALL_YAML + "faults: [{kind: version_mismatch}]\n")
    with (
        process("--config", str(file)) as (_, address),
        MicroscopeLink(address) as link,
        pytest.raises(VersionMismatch),
    ):
        link.connect()


BAD_INPUT = [
    (["--config", "absent.yaml"], "absent.yaml"),
    (["--specimen", __file__], "cannot be read"),
    (["--address", "tcp://0.0.0.0:0"], "0.0.0.0"),  # noqa: S104 - which is refused
    (["--address", "nowhere"], "nowhere"),
    (["--faults", __file__], "configuration"),
    (["--truth", f"{__file__}/truth.npz"], "truth"),
    (["--truth-shape", "0", "5"], "truth-shape"),
    (["--seed", "-4"], "seed"),
    (["--secret-key", "absent"], "secret-key"),
]
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from simulators.__main__ import main
answers = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main()
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_the_process_answers_bad_input_with_one_sentence_and_code_2():
    asked = json.dumps([arguments for arguments, _ in BAD_INPUT])
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for (arguments, said), (code, out, err) in zip(BAD_INPUT, json.loads(done.stdout), strict=True):
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert len(err.strip().splitlines()) == 1
