"""The page against the running demo: simulated microscope, restorer and daemon, each a process of its own."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
from chromium import Page, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.timeout(300)]

START_S = 90  # a machine with other work takes long to import torch


class Demo:
    """``scancontrol demo`` as a user starts it; its lines are read as they come."""

    def __init__(self, out: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scancontrol", "demo", "--method", "push_pull", "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)

    def said(self, pattern: str) -> str:
        """Wait for a line that matches; return its first group."""
        while True:
            found = re.search(pattern, self.lines.get(timeout=START_S))
            if found:
                return found.group(1)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait(10)


def test_the_demo_is_watched_paused_survives_its_restorer_and_is_blanked(browser: Any, demo: Demo) -> None:
    page = Page(browser)
    browser.get_log("browser")
    links = demo.said(r"links\s+(\S+),")
    page.open(Path(links).read_text().split()[1])
    restorer = int(demo.said(r"restorer\s+process (\d+)"))

    page.until(lambda: "after its last sample" in page.text("right-caption"), "a restored frame", START_S)
    assert page.pixels("right-canvas").std() > 5
    assert page.text("lost") == "0 · 0"
    assert float(page.text("dose-saved").split()[0]) > 90
    assert page.text("microscope-state") == "connected"
    page.until(lambda: page.shown("origin"), "the page says that the microscope is simulated")

    page.until(lambda: page.text("phase") == "scanning", "scanning", 30)
    page.press(" ")
    page.until(lambda: page.text("phase") == "paused" and page.text("beam-text") == "beam blanked", "paused, blanked")
    page.press(" ")
    page.until(lambda: page.text("phase") in {"scanning", "ended · completed"}, "goes on")

    os.kill(restorer, signal.SIGKILL)
    page.until(lambda: "The restorer has stopped" in page.text("right-message"), "the page says so", 30)
    caption = page.text("left-caption")
    page.until(lambda: page.text("left-caption") != caption, "the partial scan goes on alone", 30)
    page.until(lambda: "1 restart" in page.text("restorer-state"), "it is started again", START_S)
    page.until(lambda: not page.shown("right-message"), "and restores", START_S)

    page.press("b")
    page.until(lambda: page.text("beam-text") == "beam blanked, held", "blanked, and held")
    page.until(lambda: "blanked" in page.text("log"), "the daemon's word for it is in the log")
    assert page.complaints() == []

    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(10) == 0
    page.until(lambda: "lost" in page.text("banner"), "the page says that the daemon is gone")
    browser.get("about:blank")
    browser.get_log("browser")
