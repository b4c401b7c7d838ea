"""``scancontrol configs``: the configurations that ship, listed or copied to be changed.

Plans, simulators, instruments and training, each commented. Everything that a file names is looked for beside it, so
the copies work wherever they lie; the samples of the documentation call that folder ``config``.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput, StorageError
from scancontrol.files import config_folder

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("configs", help="list or copy the shipped configurations", description=__doc__)
    parser.add_argument("--copy", type=Path, metavar="DIR", help="copy them all there; nothing is overwritten")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 once they are listed or copied."""
    files = sorted(config_folder().glob("*.yaml"))
    if arguments.copy is None:
        width = max(len(file.name) for file in files)
        for file in files:
            print(f"{file.name:<{width}}  {_purpose(file)}".rstrip())
        print(f"in {config_folder()}; a copy to be changed: scancontrol configs --copy config")
        return 0
    _copy(files, arguments.copy)
    print(f"{len(files)} configurations in {arguments.copy}")
    return 0


def _purpose(file: Path) -> str:
    """What its first comment begins with, up to a full stop or a colon."""
    words: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# ").strip())
    return re.split(r"\. |:\s|\.$", " ".join(words))[0]


def _copy(files: list[Path], folder: Path) -> None:
    """Copy the files into a folder.

    Raises:
        InvalidInput: one of them is there already; nothing is copied.
        StorageError: the folder cannot be written to.
    """
    there = [file.name for file in files if (folder / file.name).exists()]
    if there:
        raise InvalidInput("copy", folder, f"holds {there[0]} already", "name another folder, or move your own away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise StorageError("copy", folder, str(error), "name a folder that can be written to") from error
