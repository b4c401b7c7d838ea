"""A daemon is found by its folder, by its link, or by its address; its token is nobody else's to read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scancontrol.daemon.health import ENDPOINT_FILE
from scancontrol.daemon.page.links import LINKS_FILE, write_links
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.session.finding import find_door

OPERATOR = "http://127.0.0.1:8765/#token=" + "a" * 43
OBSERVER = "http://127.0.0.1:8765/#token=" + "b" * 43


def daemon(folder: Path, pid: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    pid = os.getpid() if pid is None else pid
    (folder / ENDPOINT_FILE).write_text(f'{{"pid": {pid}, "status": "127.0.0.1:1"}}')
    write_links(folder, operator=OPERATOR, observers=OBSERVER)
    return folder


def test_a_folder_leads_to_its_daemon_in_either_role(tmp_path: Path) -> None:
    daemon(tmp_path)
    assert find_door(tmp_path) == find_door(OPERATOR)
    assert find_door(tmp_path, role="observer") == find_door(OBSERVER)
    assert find_door(tmp_path).url == "ws://127.0.0.1:8765/live"
    assert find_door(tmp_path).token == "a" * 43
    assert stat.S_IMODE((tmp_path / LINKS_FILE).stat().st_mode) == 0o600


def test_a_folder_of_folders_leads_to_the_only_one_that_a_daemon_records_into(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    daemon(tmp_path / "demo-2")
    assert find_door(tmp_path) == find_door(OPERATOR)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    daemon(tmp_path / "demo-1", gone.pid)  # killed, so that its file stayed
    assert find_door(tmp_path) == find_door(OPERATOR)
    daemon(tmp_path / "demo-3")
    with pytest.raises(LinkError, match="name one of"):
        find_door(tmp_path)


def test_an_address_takes_its_token_from_elsewhere(tmp_path: Path) -> None:
    assert find_door("127.0.0.1:8765", token="a" * 43) == find_door(OPERATOR)
    secure = find_door("https://microscope:8765/", token="a" * 43, certificate=tmp_path / "cert.pem")
    assert (secure.url, secure.origin) == ("wss://microscope:8765/live", "https://microscope:8765")
    with pytest.raises(InvalidInput, match="certificate"):
        secure.tls()


@pytest.mark.parametrize(
    ("where", "said"),
    [("http://127.0.0.1:8765/", "has no token"), ("127.0.0.1:8765", "has no token"), ("http:///#token=a", "no host")],
)
def test_a_link_that_leads_nowhere_says_what_it_lacks(where: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        find_door(where)


def test_where_no_daemon_runs_or_serves_a_page_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="have it serve its page"):
        find_door(tmp_path)
    (daemon(tmp_path) / LINKS_FILE).write_text("nonsense")
    with pytest.raises(InvalidInput, match="start the daemon again"):
        find_door(tmp_path)
