"""One browser for the whole room, which ends with it; hub, server and synthetic daemon for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from synthetic_daemon import SyntheticDaemon

from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.server import LiveServer

if TYPE_CHECKING:
    from chromium import Page


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from chromium import start_chromium  # only the tests that ask for it need selenium

    driver = start_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub()


@pytest.fixture
def server(hub: LiveHub) -> Iterator[LiveServer]:
    with LiveServer(hub) as running:
        yield running


@pytest.fixture
def daemon(hub: LiveHub) -> Iterator[SyntheticDaemon]:
    with SyntheticDaemon(hub, side=192, pace_s=0.01) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: LiveServer) -> Iterator[Page]:
    from chromium import Page

    browser.get_log("browser")
    tab = Page(browser).open(server.url)
    yield tab
    assert tab.complaints() == []
    browser.get("about:blank")


@pytest.fixture
def still(page: Page, daemon: SyntheticDaemon) -> Page:
    """The page on a scan that is paused after some frames, with all that came before the pause drawn."""
    page.start()
    page.until(lambda: daemon.frame >= 3, "some frames")
    page.press(" ")
    page.until(lambda: page.text("phase") == "paused", "paused")
    page.until(
        lambda: re.split(" ·|,", page.text("right-caption"))[0] == f"frame {daemon.restored + 1}", "the newest picture"
    )
    return page
