"""The command line of a script that writes part of a page: write it anew, or with ``--check`` say whether it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["write_or_check"]


def write_or_check(
    page: Path,
    written: Callable[[str], str],
    description: str | None,
    missing: Callable[[str], list[str]] | None = None,
) -> int:
    """Bring ``page`` up to date; the exit code of the script.

    Args:
        page: the file.
        written: the page as it should be, from the page as it is.
        description: of the script, for ``--help``.
        missing: what the page names and is not there, which a script cannot mend.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="fail where the page is not up to date")
    check = parser.parse_args().check
    text = page.read_text(encoding="utf-8")
    new = written(text)
    if missing is not None and (gone := missing(text)):
        sys.stderr.write(f"{page.name} names what is not there: {', '.join(gone)}\n")
        return 1
    if check:
        if text != new:
            sys.stderr.write(f"{page.name} is not up to date; run python docs/{Path(sys.argv[0]).name}\n")
        return int(text != new)
    page.write_text(new, encoding="utf-8")
    return 0
