"""The keys that a server's command line gives it: both or neither, and such that can be used."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from scancontrol.errors import InvalidInput
from scancontrol.transport.keys import ServerSecurity, make_keys
from scancontrol.transport.options import add_server_keys, server_security


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server_keys(parser)
    return parser.parse_args(arguments)


def test_no_keys_is_no_security() -> None:
    given = parsed()
    assert server_security(given.secret_key, given.clients) is None


def test_both_files_are_the_security_of_a_server(tmp_path: Path) -> None:
    _, secret = make_keys(tmp_path, "microscope")
    given = parsed("--secret-key", str(secret), "--clients", str(tmp_path))
    assert server_security(given.secret_key, given.clients) == ServerSecurity(secret, tmp_path)


@pytest.mark.parametrize("option", ["--secret-key", "--clients"])
def test_half_of_it_is_refused_by_the_names_that_it_was_given_under(tmp_path: Path, option: str) -> None:
    given = parsed(option, str(tmp_path))
    with pytest.raises(InvalidInput, match="--secret-key and --clients = only one of them is not enough; give both"):
        server_security(given.secret_key, given.clients)
    with pytest.raises(InvalidInput, match=r"^secret_key and clients"):
        server_security(given.secret_key, given.clients, "secret_key and clients")


def test_an_allow_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    _, secret = make_keys(tmp_path, "microscope")
    with pytest.raises(InvalidInput, match="allow-list"):
        server_security(secret, tmp_path / "nobody")
