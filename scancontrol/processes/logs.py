"""Logs that belong together: one id for each scan, through every process, as text and as JSON lines.

A process works on one scan at a time, so the id is the process's: :func:`set_scan` where a scan begins, and every
record from then on carries it. With ``--log-json FILE`` (or ``SCANCONTROL_LOG_JSON`` in the environment, which is how
children hear of it) each record is also one line of JSON at the end of FILE. All processes append to the same file,
a line with one write.

There is one form of line, whoever speaks: time, level, process, logger, scan, message. What a child logs goes on
through its parent as the child said it (:func:`relay`), what a library warns of is a record like any other.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from datetime import datetime
from pathlib import Path
from typing import IO

from scancontrol.errors import InvalidInput
from scancontrol.processes.printable import printable

__all__ = ["JSON_VARIABLE", "configure", "message_of", "relay", "set_scan"]

JSON_VARIABLE = "SCANCONTROL_LOG_JSON"

_current = {"scan": ""}
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) (\S+) (\S+) (\S+) (.*)")
_NO_SCAN = "-"
_MESSAGE_CHARACTERS = 3000  # a line stays below PIPE_BUF for all but escaped text


def set_scan(series_unique_id: str) -> None:
    """The scan that this process works on from now on; empty for none."""
    _current["scan"] = series_unique_id


def relay(line: str, role: str) -> None:
    """Log what a child wrote on its standard error: a line of its log as that line, anything else as its words.

    ``role`` is what the child is, for words that do not say so themselves. Lines of its log keep their time, level,
    process, logger and scan. They are not written as JSON, which the child has done by itself.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        logging.getLogger(__name__).info("%s", line, extra={"role": role})
        return
    when, level_name, process, name, scan, message = found.groups()
    logger, level = logging.getLogger(name), logging.getLevelNamesMapping().get(level_name, logging.INFO)
    if logger.isEnabledFor(level):
        extra = {"role": process, "scan": "" if scan == _NO_SCAN else scan, "relayed": True}
        record = logger.makeRecord(name, level, "", 0, "%s", (message,), None, extra=extra)
        record.created = datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp()
        record.msecs = float(when[-3:])
        logger.handle(record)


def message_of(line: str) -> str:
    """What a line of a log says, without time, level, process, logger and scan; any other line as it is."""
    found = _LINE.fullmatch(line)
    return line if found is None else found.group(6)


class _Context(logging.Filter):
    """Gives a record its process and its scan, unless it has brought them."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def filter(self, record: logging.LogRecord) -> bool:
        record.role = getattr(record, "role", self._role)
        scan = getattr(record, "scan", _current["scan"])
        record.scan, record.scan_shown = scan, scan or _NO_SCAN
        return True


class _CleanText(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(role)s %(name)s %(scan_shown)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "utc_ns": int(record.created * 1e9),
            "level": record.levelname.lower(),
            "process": getattr(record, "role", ""),
            "pid": record.process,
            "thread": record.threadName,
            "logger": record.name,
            "scan": getattr(record, "scan", ""),
            "message": record.getMessage()[:_MESSAGE_CHARACTERS],
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-_MESSAGE_CHARACTERS:]
        return json.dumps(line, ensure_ascii=True)


class _Appending(logging.Handler):
    """Lines to the end of a file that other processes append to, too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def emit(self, record: logging.LogRecord) -> None:
        # A full disk costs the line; no process ends for its log, or fills a terminal about it.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (self.format(record) + "\n").encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def configure(role: str, *, verbose: bool, json_file: Path | None = None, stream: IO[str] | None = None) -> None:
    """Set logging of this process up, warnings of libraries included.

    ``role`` is what the process is: ``daemon``, ``microscope``, ``restorer``, or the name of a command.

    Text goes to ``stream`` (standard error), warnings only unless ``verbose``; JSON lines hold everything from INFO on.

    Raises:
        InvalidInput: the JSON file cannot be written.
    """
    logging.raiseExceptions = False  # a terminal that is gone costs the line, too
    root = logging.getLogger()
    text = logging.StreamHandler(stream)
    text.setLevel(logging.INFO if verbose else logging.WARNING)
    text.setFormatter(_CleanText())
    handlers: list[logging.Handler] = [text]
    if json_file is None and os.environ.get(JSON_VARIABLE):
        json_file = Path(os.environ[JSON_VARIABLE])
    if json_file is not None:
        try:
            lines = _Appending(json_file)
        except OSError as error:
            raise InvalidInput(
                "--log-json", json_file, f"cannot be written ({error.strerror})", "name a file in a folder of yours"
            ) from error
        os.environ[JSON_VARIABLE] = str(json_file.resolve())
        lines.setLevel(logging.INFO)
        lines.setFormatter(_JsonLines())
        lines.addFilter(lambda record: not getattr(record, "relayed", False))
        handlers.append(lines)
    for handler in handlers:
        handler.addFilter(_Context(role))
    root.setLevel(logging.INFO if verbose or json_file is not None else logging.WARNING)
    root.handlers[:] = handlers
    logging.captureWarnings(True)
