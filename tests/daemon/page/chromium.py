"""Headless Chromium on the live page, with the few words that the tests need."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

__all__ = ["By", "Page", "drag", "needs_chromium", "start_chromium"]

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium with its driver")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def start_chromium(profile: object) -> Any:
    """Start a browser with a fresh profile in folder ``profile``; the caller ends it with ``quit()``."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_window_size(1280, 900)
    return driver


class Page:
    """A browser tab on the live page, with the few words the tests need."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, link: str) -> Page:
        self.driver.get("about:blank")  # the same address with another fragment would not be loaded again
        self.driver.get(link)
        return self

    def text(self, id_: str) -> str:
        return str(self.driver.execute_script("return document.getElementById(arguments[0]).textContent", id_))

    def shown(self, id_: str) -> bool:
        return bool(self.driver.find_element(By.ID, id_).is_displayed())

    def enabled(self, id_: str) -> bool:
        return bool(self.driver.find_element(By.ID, id_).is_enabled())

    def press(self, keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(keys)

    def start(self) -> None:
        """Press Space once that starts a scan, and wait for its first whole restored frame."""
        self.until(lambda: self.enabled("go"), "the start button is enabled")
        self.press(" ")
        self.until(lambda: "after its last sample" in self.text("right-caption"), "a restored frame is shown")

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
        WebDriverWait(self.driver, timeout_s, poll_frequency=0.03).until(lambda _: condition(), what)

    def pixels(self, id_: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The canvas as (rows, cols, 3) bytes, as it is on the screen."""
        url = self.driver.execute_script(
            "const c = document.getElementById(arguments[0]), k = document.createElement('canvas');"
            "k.width = c.width; k.height = c.height; const x = k.getContext('2d'); x.drawImage(c, 0, 0);"
            "const d = x.getImageData(0, 0, k.width, k.height).data; let s = '';"
            "for (let i = 0; i < d.length; i += 4096) s += String.fromCharCode(...d.subarray(i, i + 4096));"
            "return [k.height, k.width, btoa(s)]",
            id_,
        )
        rows, cols, data = url
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(rows, cols, 4)[..., :3]

    def module(self, name: str, body: str, *values: object) -> Any:
        """Run ``body`` with module ``name`` of the page as ``m`` and ``values`` as ``v``; return what it returns."""
        answer = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"import('/{name}.js').then((m) => {{ const v = arguments[0]; {body} }})"
            ".then(done, (e) => done('failed: ' + e))",
            list(values),
        )
        assert not (isinstance(answer, str) and answer.startswith("failed: ")), answer
        return answer

    def complaints(self) -> list[dict[str, Any]]:
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def drag(page: Page, canvas: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one place (y, x) of a square field, in fractions of it, to another."""
    box = page.driver.find_element(By.ID, canvas)
    side = min(box.size.values())
    offsets = [(round((x - 0.5) * side), round((y - 0.5) * side)) for y, x in (start, end)]
    actions = ActionChains(page.driver, duration=0)
    actions.move_to_element_with_offset(box, *offsets[0]).click_and_hold()
    actions.move_to_element_with_offset(box, *offsets[1]).release().perform()
