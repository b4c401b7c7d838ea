"""Where a daemon says that it is: read, or refused by the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from scancontrol.daemon import health
from scancontrol.errors import LinkError


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b"[]", b'{"status": 3}', b'{"status": "\x80"}'],
    ids=["empty", "text", "a list", "a number", "no UTF-8"],
)
def test_an_endpoint_file_that_says_nothing_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / health.ENDPOINT_FILE).write_bytes(content)
    with pytest.raises(LinkError, match=rf"{health.ENDPOINT_FILE} does not say where a daemon is"):
        health.find_daemon(tmp_path)


def test_a_folder_that_no_daemon_records_into_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=tmp_path.name):
        health.find_daemon(tmp_path)
