"""Keys and allow-lists: who may come in."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import zmq

from scancontrol.commands import keys as command
from scancontrol.errors import InvalidInput
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, load_public_key, load_secret_key, make_keys


def test_keys_are_made_for_their_owner_alone_and_read_back(tmp_path):
    public_file, secret_file = make_keys(tmp_path, "ada")
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    public, secret = load_secret_key(secret_file)
    assert load_public_key(public_file) == public
    assert zmq.curve_public(secret) == public
    assert b"secret" not in public_file.read_bytes()


def test_keys_are_never_written_over(tmp_path):
    _, secret_file = make_keys(tmp_path, "ada")
    before = secret_file.read_bytes()
    with pytest.raises(InvalidInput, match="there already"):
        make_keys(tmp_path, "ada")
    assert secret_file.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../ada", "a/b", ".hidden", "a b", "x" * 65])
def test_a_key_name_cannot_lead_out_of_its_folder(tmp_path, name):
    with pytest.raises(InvalidInput, match="key name"):
        make_keys(tmp_path / "keys", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_secret_key_that_others_can_touch_is_not_used(tmp_path, mode):
    _, secret_file = make_keys(tmp_path, "ada")
    secret_file.chmod(mode)
    with pytest.raises(InvalidInput, match=f"mode 0{mode:o}.*chmod 600"):
        load_secret_key(secret_file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_key_of_somebody_else_is_not_used(tmp_path):
    _, secret_file = make_keys(tmp_path, "ada")
    os.chown(secret_file, 12345, -1)
    with pytest.raises(InvalidInput, match="owner 12345"):
        load_secret_key(secret_file)


BROKEN = [b"", b"curve", b'public-key = "short"', b"\xff" * 100, b'public-key = "' + b" " * 40 + b'"', b"x" * 10_000]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_key_file_is_refused_and_keeps_nobody_else_out(tmp_path, content):
    public_file, secret_file = make_keys(tmp_path, "server")
    (tmp_path / "broken.key").write_bytes(content)
    with pytest.raises(InvalidInput, match="key"):
        load_public_key(tmp_path / "broken.key")
    security = ServerSecurity(secret_file, tmp_path)
    assert security.allows(load_public_key(public_file))
    assert not security.allows(b"x" * 40)


def test_a_secret_file_is_asked_for_where_a_public_one_is_given(tmp_path):
    public_file, _ = make_keys(tmp_path, "ada")
    public_file.chmod(0o600)
    with pytest.raises(InvalidInput, match="holds no secret key"):
        load_secret_key(public_file)


def test_missing_files_and_folders_are_named(tmp_path):
    _, secret_file = make_keys(tmp_path, "server")
    with pytest.raises(InvalidInput, match="allow-list"):
        ServerSecurity(secret_file, tmp_path / "nowhere").check()
    with pytest.raises(InvalidInput, match="cannot be read"):
        ClientSecurity(secret_file, tmp_path / "nobody.key").check()


def test_the_command_makes_a_pair_for_each_name(tmp_path, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["keys", "--out", str(tmp_path), "microscope", "daemon"])
    assert args.run(args) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "daemon.key",
        "daemon.key_secret",
        "microscope.key",
        "microscope.key_secret",
    ]
    assert "daemon.key_secret" in capsys.readouterr().out


def test_keys_made_where_the_how_to_makes_them_are_never_committed():
    house = Path(__file__).parents[2]
    git = shutil.which("git")
    if not (house / ".git").exists() or git is None:
        pytest.skip("no checkout")
    for name in ("microscope.key", "microscope.key_secret", "clients/daemon.key"):
        asked = subprocess.run([git, "check-ignore", "-q", f"keys/{name}"], cwd=house, check=False)
        assert asked.returncode == 0, name
