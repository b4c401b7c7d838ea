"""Logs of all processes are of one form, as text and as JSON lines, and nothing is in them twice."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from scancontrol.errors import InvalidInput
from scancontrol.processes import logs
from scancontrol.processes.parent import ChildProcess

FORM = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) (\S+) (\S+) (\S+) (.*)")
CHILD = "2026-03-01 09:08:07,006 WARNING restorer restore.engine scan-7 a frame was left out"


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(logs.JSON_VARIABLE, "")
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)
    logs.set_scan("")


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_time_level_process_logger_scan_and_message() -> None:
    stream = io.StringIO()
    logs.configure("daemon", verbose=True, stream=stream)
    logs.set_scan("")
    logging.getLogger("scancontrol.daemon").info("up")
    logs.set_scan("scan-1")
    logging.getLogger("scancontrol.daemon").warning("late")
    first, second = (FORM.fullmatch(line) for line in stream.getvalue().splitlines())
    assert first is not None
    assert second is not None
    assert first.groups() == ("INFO", "daemon", "scancontrol.daemon", "-", "up")
    assert second.groups() == ("WARNING", "daemon", "scancontrol.daemon", "scan-1", "late")


def test_a_child_s_line_goes_on_as_the_child_said_it() -> None:
    stream = io.StringIO()
    logs.configure("daemon", verbose=False, stream=stream)
    logs.set_scan("scan-9")
    logs.relay(CHILD, "restorer")
    assert stream.getvalue() == CHILD + "\n"


def test_a_child_s_information_is_as_quiet_as_the_parent_s_own() -> None:
    stream = io.StringIO()
    logs.configure("daemon", verbose=False, stream=stream)
    logs.relay(CHILD.replace("WARNING", "INFO"), "restorer")
    assert stream.getvalue() == ""


def test_a_child_s_other_words_are_a_line_of_the_same_form_under_its_name() -> None:
    stream = io.StringIO()
    logs.configure("daemon", verbose=True, stream=stream)
    logs.relay("Segmentation fault", "restorer")
    found = FORM.fullmatch(stream.getvalue().rstrip("\n"))
    assert found is not None
    assert found.groups()[:2] == ("INFO", "restorer")
    assert found.group(5) == "Segmentation fault"


def test_what_a_child_has_logged_itself_is_not_in_the_json_file_twice(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    logs.configure("daemon", verbose=True, json_file=file, stream=io.StringIO())
    logs.relay(CHILD, "restorer")
    logs.relay("Segmentation fault", "restorer")
    logging.getLogger("scancontrol.daemon").info("up")
    assert [(line["process"], line["message"]) for line in lines_of(file)] == [
        ("restorer", "Segmentation fault"),
        ("daemon", "up"),
    ]


def test_a_library_s_warning_is_a_line_of_the_log_in_both_forms(tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "log.jsonl"
    logs.configure("train", verbose=False, json_file=file, stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a codec of its own", UserWarning, stacklevel=1)
    found = FORM.fullmatch(stream.getvalue().splitlines()[0])
    assert found is not None
    assert found.groups()[:3] == ("WARNING", "train", "py.warnings")
    assert [line["logger"] for line in lines_of(file)] == ["py.warnings"]


def test_the_exception_of_a_record_is_in_its_json_line(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    logs.configure("daemon", verbose=False, json_file=file, stream=io.StringIO())
    try:
        raise RuntimeError("it broke")
    except RuntimeError:
        logging.getLogger("scancontrol.daemon").exception("gone")
    (line,) = lines_of(file)
    assert line["level"] == "error"
    assert str(line["exception"]).endswith("RuntimeError: it broke")


def test_a_json_file_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--log-json"):
        logs.configure("daemon", verbose=False, json_file=tmp_path / "nowhere" / "log.jsonl")


@pytest.mark.slow
def test_a_process_and_its_parent_write_one_form_of_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "speaking_child.py").write_text(
        "import json, logging\n"
        "from scancontrol.processes import logs\n"
        "logs.configure('microscope', verbose=False)\n"
        "logging.getLogger('simulators').warning('the stage is cold')\n"
        "logging.getLogger('simulators').info('unheard')\n"
        "print(json.dumps({'ready': 1}), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    stream, file = io.StringIO(), tmp_path / "log.jsonl"
    logs.configure("daemon", verbose=False, json_file=file, stream=stream)
    child = ChildProcess("microscope", "speaking_child")
    child.wait_ready(30)
    child.stop(5)
    (text,) = stream.getvalue().splitlines()
    found = FORM.fullmatch(text)
    assert found is not None
    assert found.groups() == ("WARNING", "microscope", "simulators", "-", "the stage is cold")
    assert [(line["process"], line["message"]) for line in lines_of(file)] == [
        ("microscope", "the stage is cold"),
        ("microscope", "unheard"),
    ]
    assert child.last_words() == "the stage is cold"
