"""The parent's side of :mod:`scancontrol.processes.child`: start a process, hear when it is ready, end it for certain.

A child is started in a session of its own, so that Ctrl-C at the terminal reaches only the parent, which ends
its children in the order that safety asks for (the beam first). The write end of the child's standard input
stays with the parent: when the parent dies, however it dies, the child sees the end of the file and ends too.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scancontrol.errors import LinkError
from scancontrol.processes import logs

__all__ = ["ChildFailed", "ChildProcess"]

log = logging.getLogger(__name__)

STDERR_LINES_KEPT = 40


class ChildFailed(LinkError):
    """A process of the system did not start, or ended when it should not have."""


class ChildProcess:
    """One process of ours, ``python -m MODULE ARGUMENTS --follow-stdin``.

    Args:
        role: what it is, for messages: ``microscope``, ``restorer``, ``daemon``.
        module: the module that Python runs.
        arguments: its command line.
        environment: added to this process's environment.
        pass_output: its output goes to this process's terminal instead of being read for the ready line.
        reports: the JSON objects that it prints are kept for :meth:`reports`.
    """

    def __init__(
        self,
        role: str,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        pass_output: bool = False,
        reports: bool = False,
    ) -> None:
        self.role = role
        self._ready: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reports: queue.Queue[dict[str, Any] | None] | None = queue.Queue() if reports else None
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--follow-stdin"],
            stdin=subprocess.PIPE,
            stdout=None if pass_output else subprocess.PIPE,
            stderr=None if pass_output else subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            text=not pass_output,
        )
        self._readers: list[threading.Thread] = []
        if not pass_output:
            for name, target in (("out", self._read_output), ("err", self._read_errors)):
                thread = threading.Thread(target=target, name=f"{role}-{name}", daemon=True)
                thread.start()
                self._readers.append(thread)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _read_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for in the constructor
        for line in self._process.stdout:
            try:
                facts = json.loads(line)
            except ValueError:
                logs.relay(line.rstrip(), self.role)
                continue
            if isinstance(facts, dict) and "ready" in facts:
                self._ready.put(facts)
            if isinstance(facts, dict) and self._reports is not None:
                self._reports.put(facts)
        self._ready.put(None)
        if self._reports is not None:
            self._reports.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - asked for in the constructor
        for line in self._process.stderr:
            self._stderr.append(line.rstrip())
            logs.relay(line.rstrip(), self.role)

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The facts of its ready line.

        Raises:
            ChildFailed: it ended before it was ready, or said nothing in time; its own last words are the message.
        """
        try:
            facts = self._ready.get(timeout=timeout_s)
        except queue.Empty:
            raise ChildFailed(f"the {self.role} said nothing within {timeout_s:g} s; see --verbose") from None
        if facts is None:
            self._ended()
            raise ChildFailed(f"the {self.role} did not start: {self.last_words()}")
        return facts

    def reports(self) -> Iterator[dict[str, Any]]:
        """What it says, a JSON object a line with the ready line first, as it says it, to its end.

        Raises:
            ChildFailed: it ended with another exit code than 0; its own last words are the message.
        """
        if self._reports is None:
            raise RuntimeError("the reports of this process are not kept; start it with reports=True")
        while (facts := self._reports.get()) is not None:
            yield facts
        if self._ended():
            raise ChildFailed(self.last_words())

    def _ended(self) -> int:
        """Its exit code, once it has closed its output and all of that was read."""
        code = self._process.wait()
        for thread in self._readers:
            thread.join(timeout=1)
        return code

    def last_words(self) -> str:
        """Its last line on standard error, without the prefix of its own command or log."""
        lines = [line for line in self._stderr if line.strip()]
        return (
            logs.message_of(lines[-1]).removeprefix(f"{self.role}: ") if lines else f"exit code {self._process.poll()}"
        )

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; its exit code, or None if it still runs after ``timeout_s``."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def request_stop(self) -> None:
        """Ask it to end, by the end of its standard input; returns at once."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError as error:  # it is gone already
                log.debug("%s: %s", self.role, error)

    def stop(self, timeout_s: float = 1.0) -> int:
        """End it: ask, then SIGTERM, then SIGKILL, the whole within about ``timeout_s``. Returns its exit code."""
        deadline = time.monotonic() + timeout_s
        self.request_stop()
        for share, end in ((0.6, self._process.terminate), (1.0, self._process.kill)):
            code = self.wait(max(0.0, deadline - (1 - share) * timeout_s - time.monotonic()))
            if code is not None:
                break
            end()
        code = self._ended()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        return code
