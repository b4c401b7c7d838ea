"""Tables of numbers as other programs write them: any of the usual separators, with or without a header."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.files import read_text

__all__ = ["MAX_TABLE_BYTES", "Table", "read_table"]

MAX_TABLE_BYTES = 128 << 20


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes:
        header: names of the columns; None where the file has none.
        values: float64 (rows, columns).
        remark: the last comment above the numbers, where it has as many words as there are columns: NumPy's
            ``savetxt`` keeps the names of the columns there.
    """

    header: tuple[str, ...] | None
    values: NDArray[np.float64]
    remark: tuple[str, ...] = ()


def read_table(path: Path, what: str) -> Table:
    """Read a text file of numbers: comma, semicolon, tab or blanks between them, ``#`` before a comment.

    Quotes, a separator at the end of each line and a byte order mark are passed over. A comma is a decimal one only
    where something else separates.

    Raises:
        InvalidInput: the file cannot be read, or holds anything but one table of numbers.
    """
    text = read_text(path, what, "give a CSV or NPY file", MAX_TABLE_BYTES)
    whole = text.splitlines()
    lines = [(number, line) for number, line in enumerate(whole, 1) if not _is_comment(line)]
    if not lines:
        return Table(None, np.zeros((0, 0)))
    separator = _separator([line for _, line in lines[:20]])
    rows = [(number, _cells(line, separator)) for number, line in lines]
    header: tuple[str, ...] | None = None
    if any(_number(cell, separator) is None for cell in rows[0][1]):
        header = tuple(rows.pop(0)[1])
    width = len(header) if header is not None else (len(rows[0][1]) if rows else 0)
    numbers = np.empty((len(rows), width))
    for at, (number, cells) in enumerate(rows):
        if len(cells) != width:
            raise InvalidInput(
                what,
                f"{path}, line {number}",
                f"has {len(cells)} columns where the first line has {width}",
                "separate columns by semicolons or tabs if commas are decimal ones, or mend that line",
            )
        for column, cell in enumerate(cells):
            value = _number(cell, separator)
            if value is None:
                raise InvalidInput(what, f"{path}, line {number}", f"holds {cell[:40]!r}, no number", "mend that line")
            numbers[at, column] = value
    above = [line for line in whole[: lines[0][0] - 1] if line.strip()]
    words = _words(above[-1]) if above and header is None else ()
    return Table(header, numbers, words if len(words) == width else ())


def _words(comment: str) -> tuple[str, ...]:
    """The words of a comment, each with the unit in brackets behind it."""
    text = comment.strip().lstrip("#%").strip()
    return tuple(word.strip("\"'") for word in re.split(r"\s*[,;\t]\s*|\s+(?![(\[])", text) if word)


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(("#", "%"))


def _separator(lines: list[str]) -> str | None:
    """What separates; None for blanks."""
    for separator in (";", "\t"):
        if all(separator in line for line in lines):
            return separator
    # A comma between digits, with blanks elsewhere on every line, is a decimal one.
    decimal = all(re.search(r"\d,\d", line) and re.search(r"\d\s+[-+\d]", line) for line in lines[-1:])
    return "," if any("," in line for line in lines) and not decimal else None


def _cells(line: str, separator: str | None) -> list[str]:
    line = line.split("#")[0].strip() if separator != "\t" else line.split("#")[0].strip("\r\n ")
    if separator is None:
        return [cell.strip("\"'") for cell in line.split()]
    cells = [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True))]
    return cells[:-1] if len(cells) > 1 and cells[-1] == "" else cells


def _number(cell: str, separator: str | None) -> float | None:
    try:
        return float(cell.replace(",", ".") if separator != "," and cell.count(",") == 1 else cell)
    except ValueError:
        return None
