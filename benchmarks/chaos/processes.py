"""The processes that chaos does its damage to: a simulated microscope, the daemon with its restorer, browsers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.chaos.relay import RELAY_HOST, Relay, listening_ports

__all__ = ["Browser", "DaemonProcess", "MicroscopeProcess", "Process", "stalled_browser"]

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
START_S = 300.0


class Process:
    """One process, its output read to the end by a thread."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments, "--follow-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        """The first line that matches.

        Raises:
            RuntimeError: there is none; with what it said instead.
        """
        deadline = time.monotonic() + timeout_s
        seen = 0
        while time.monotonic() < deadline:
            while seen < len(self.lines):
                found = re.search(pattern, self.lines[seen])
                if found:
                    return found
                seen += 1
            if self._process.poll() is not None and seen == len(self.lines):
                break
            time.sleep(0.01)
        raise RuntimeError(f"no {pattern!r} in {timeout_s:g} s: " + " / ".join(self.lines[-8:]))

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def end(self, timeout_s: float = 10.0) -> None:
        """End it for certain; what it started ends with it, since its standard input does."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def kill(self) -> None:
        self._process.kill()
        self._gone()

    def _gone(self) -> None:
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._reader.join(5)
        if not self._reader.is_alive():
            self._process.stdout.close()


class MicroscopeProcess(Process):
    """``python -m simulators`` behind the relay, noting what it exposes in ``log``."""

    def __init__(self, config: Path, log: Path, relay: Relay, address: str = "tcp://127.0.0.1:0") -> None:
        super().__init__(
            ["-m", "simulators", "--config", str(config), "--exposure-log", str(log), "--address", address]
        )
        facts = json.loads(self.wait_for(r'^\{"ready".*').group())
        self.own_address: str = facts["address"]
        port = self.own_address.rsplit(":", 1)[1]
        self.address = f"tcp://{RELAY_HOST}:{port}"
        relay.listen(listening_ports(self.pid))


class DaemonProcess(Process):
    """``scancontrol daemon`` on a disk with a switch, see :mod:`benchmarks.chaos.faulty_disk`."""

    def __init__(self, microscope: str, plan: Path, out: Path, disk: Path, *arguments: str) -> None:
        self._disk = disk
        disk.unlink(missing_ok=True)
        super().__init__(
            [
                "-m",
                "benchmarks.chaos.faulty_disk",
                str(disk),
                "daemon",
                "--microscope",
                microscope,
                "--plan",
                str(plan),
                "--out",
                str(out),
                "--page-port",
                "0",
                *arguments,
            ]
        )
        self.wait_for(r"^links +")
        self.page = (out / "page-links").read_text().split()[1]

    @property
    def restorer_pid(self) -> int | None:
        """Of the restorer that runs now, among the daemon's children."""
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in task.read_text().split():
                    with contextlib.suppress(OSError):
                        if b"restore.serve" in Path(f"/proc/{child}/cmdline").read_bytes():
                            return int(child)
        return None

    def disk(self, state: str) -> None:
        """``full``, ``read_only``, ``slow SECONDS`` or ``well``."""
        unlimited = resource.RLIM_INFINITY
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (0 if state == "full" else unlimited, unlimited))
        if state in ("well", "full"):
            self._disk.unlink(missing_ok=True)
        else:
            partial = self._disk.with_suffix(".part")
            partial.write_text(state)
            partial.replace(self._disk)


class Browser:
    """The operator's page without the picture: it acknowledges images, keeps the newest status, sends commands."""

    def __init__(self, link: str) -> None:
        self._leave = contextlib.ExitStack()
        self._connection = self._leave.enter_context(_connect(link))
        self.status: dict[str, Any] = {}
        self.notices: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for message in self._connection:
                if isinstance(message, str):
                    content = json.loads(message)
                    if content["type"] == "status":
                        self.status = content
                    elif content["type"] == "notice":
                        self.notices.append(content["text"])
                else:
                    length = int.from_bytes(message[:4], "little")
                    with contextlib.suppress(ValueError, KeyError):
                        header = json.loads(message[4 : 4 + length])
                        self._connection.send(json.dumps({"type": "ack", "seq": header["seq"]}))
        except (OSError, WebSocketException):
            return

    @property
    def phase(self) -> str | None:
        """Where the acquisition is; None before the first status."""
        return self.status.get("scan", {}).get("phase")

    @property
    def connected(self) -> bool:
        """Whether the microscope answers."""
        return bool(self.status.get("microscope", {}).get("connected"))

    @property
    def number(self) -> int:
        """What the next Start must say."""
        return int(self.status.get("orders", {}).get("number", 0))

    def send(self, **command: Any) -> bool:
        """Whether it could be sent."""
        try:
            self._connection.send(json.dumps(command))
        except (OSError, WebSocketException):
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError, WebSocketException):
            self._leave.close()
        self._thread.join(5)


def _connect(link: str) -> ClientConnection:
    url = urlsplit(link)
    token = url.fragment.removeprefix("token=")
    return connect(
        f"ws://{url.netloc}/live",
        origin=f"http://{url.netloc}",  # type: ignore[arg-type]
        subprotocols=["scancontrol.daemon.page.1", f"token.{token}"],  # type: ignore[list-item]
        max_size=1 << 26,
        compression=None,
        close_timeout=0.2,
    )


def stalled_browser(link: str) -> socket.socket:
    """A browser that opens the page's stream by hand and never reads again; close it to let go."""
    url = urlsplit(link)
    token = url.fragment.removeprefix("token=")
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.connect((str(url.hostname), int(url.port or 0)))
    stream.sendall(
        (
            f"GET /live HTTP/1.1\r\nHost: {url.netloc}\r\nOrigin: http://{url.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: scancontrol.daemon.page.1, token.{token}\r\n\r\n"
        ).encode()
    )
    return stream
