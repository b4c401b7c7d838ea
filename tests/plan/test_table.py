"""Tables of numbers are read as other programs write them, or refused by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.plan.table import Table, read_table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "points.csv"


def read(file: Path, text: str) -> Table:
    file.write_text(text, encoding="utf-8")
    return read_table(file, "points")


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2\n3,4\n",
        "1.5;2\n3;4\n",
        "1,5;2\n3;4\n",
        "1.5\t2\n3\t4\n",
        "  1.5   2\n 3 4\n",
        "1,5 2,0\n3,0 4,0\n",
        "1.5,2,\n3,4,\n",
        '"1.5","2"\n"3","4"\n',
        "1.5, 2  # the first\n\n% a remark\n3, 4\n",
    ],
)
def test_every_usual_separator_gives_the_same_numbers(file: Path, text: str) -> None:
    table = read(file, text)
    np.testing.assert_array_equal(table.values, [[1.5, 2], [3, 4]])
    assert table.header is None


def test_a_line_of_words_above_the_numbers_is_the_header(file: Path) -> None:
    table = read(file, "y_nm;x_nm\n1;2\n")
    assert table.header == ("y_nm", "x_nm")
    np.testing.assert_array_equal(table.values, [[1, 2]])


def test_the_last_comment_names_the_columns_where_it_has_as_many_words(file: Path) -> None:
    assert read(file, "# measured today\n# y (nm), x (nm)\n1 2\n").remark == ("y (nm)", "x (nm)")
    assert read(file, "# measured on Monday\n1 2\n").remark == ()


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_a_file_without_a_line_is_an_empty_table(file: Path, text: str) -> None:
    assert read(file, text).values.shape == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"), [("1,2\n3,4,5\n", "line 2.*3 columns"), ("1,2\n\n3,four\n", "line 3.*'four'")]
)
def test_a_line_that_is_no_row_of_numbers_is_named(file: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(file, text)
