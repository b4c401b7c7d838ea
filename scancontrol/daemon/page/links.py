"""The links of a running daemon, on disk for the eyes of whoever runs it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scancontrol.errors import InvalidInput
from scancontrol.files import read_text, write_private

__all__ = ["LINKS_FILE", "read_links", "write_links"]

LINKS_FILE: Final = "page-links"
"""In the output folder: a line for each role, the role and its link with the token."""


def write_links(folder: Path, *, operator: str, observers: str) -> Path:
    """Leave the links for :func:`read_links`; returns their file.

    Raises:
        StorageError: the folder cannot be written to.
    """
    file = folder / LINKS_FILE
    write_private(file, f"operator {operator}\nobservers {observers}\n")
    return file


def read_links(folder: Path) -> dict[str, str]:
    """The links of the daemon that records into ``folder``, by role: ``operator`` and ``observer``.

    Raises:
        InvalidInput: it serves no page, or its links are another user's.
    """
    text = read_text(folder / LINKS_FILE, "links", "ask who started the daemon for a link, or have it serve its page")
    links = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    try:
        return {"operator": links["operator"], "observer": links["observers"]}
    except KeyError as error:
        limit = "does not hold the links of operator and observers"
        raise InvalidInput("links", folder / LINKS_FILE, limit, "start the daemon again") from error
