"""One browser for the whole room: starting it takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from chromium import start_chromium  # only the tests that ask for it need selenium

    driver = start_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
