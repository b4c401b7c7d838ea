"""Configuration files: YAML, safely loaded, strictly typed, with errors that say where.

Unknown keys are refused, types are not coerced, and the message names the file, the place in it and the remedy.
"""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from scancontrol.errors import InvalidInput, StorageError

__all__ = ["MAX_FILE_BYTES", "config_file", "convert", "load_yaml", "parse_yaml", "to_yaml", "write_text"]

MAX_FILE_BYTES = 4 << 20
"""A configuration is written by a person; a larger file is something else, opened by mistake."""

T = TypeVar("T")

_MAX_NESTING = 64
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 80, 80


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read ``path`` as a ``kind`` (a msgspec structure).

    Raises:
        InvalidInput: the file cannot be read, is not YAML, or does not describe a ``kind``.
    """
    name = f"configuration {path}"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(
                name, f"{path.stat().st_size} bytes", f"is above {MAX_FILE_BYTES}", "give a YAML file written by hand"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            "configuration", path, f"cannot be read ({error.strerror})", "give the path of a readable YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("configuration", path, "is not UTF-8 text", "give a YAML file") from error
    return convert(parse_yaml(text, str(path)), kind, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Plain data from YAML, by the safe loader.

    Raises:
        InvalidInput: the text is not YAML, nests too deeply, or holds a value that cannot be.
    """
    if _nests_too_deeply(text):
        raise InvalidInput("configuration", source, "nests too deeply", "give a YAML file written by hand")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f" at line {where.line + 1}, column {where.column + 1}" if where else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise InvalidInput("configuration", source, f"is not YAML{place}: {problem}", "mend that line") from error
    except RecursionError as error:
        raise InvalidInput("configuration", source, "nests too deeply", "give a YAML file written by hand") from error
    except (ValueError, OverflowError, TypeError, AttributeError, IndexError, KeyError) as error:
        problem = f"holds a value that cannot be ({error})"  # such as a date in a 13th month
        raise InvalidInput("configuration", source, problem, "mend that value") from error


def _nests_too_deeply(text: str) -> bool:
    """Whether brackets are open within brackets further than anybody writes: the loader's time is their square."""
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if mark.group() in "[{" else max(0, depth - 1)
        if depth > _MAX_NESTING:
            return True
    return re.search(rf"(- ){{{_MAX_NESTING}}}", text) is not None


def convert(content: Any, kind: type[T], source: str) -> T:
    """Turn plain data into a ``kind``; the error names ``source``, the place, and the value found there."""
    try:
        return msgspec.convert(content, kind)
    except RecursionError as error:
        raise InvalidInput("configuration", source, "nests too deeply", "give a YAML file written by hand") from error
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidInput):  # a structure's own check says it better
            raise error.__cause__ from error
        message, _, place = str(error).partition(" - at `")
        place, remedy = place.rstrip("`") or "$", "mend that entry"
        unknown = re.fullmatch(r"Object contains (unknown field `(.+)`)", message)
        if unknown is not None:  # the entry itself says more than the whole that it stands in
            place, message, remedy = f"{place}.{unknown[2]}", unknown[1], "mend its spelling, or take it out"
        raise InvalidInput(
            f"{place} in {source}", _value_at(content, place), f"is not valid: {message}", remedy
        ) from error


def _value_at(content: Any, place: str) -> object:
    """The value at a msgspec path such as ``$.patterns[0].coverage``; the whole where the path leads nowhere."""
    found = content
    for key, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", place):
        try:
            found = found[key] if key else found[int(index)]
        except (KeyError, IndexError, TypeError):
            return "(missing)"
    text = _brief.repr(found)  # bounded before it is made: YAML's references can stand for more than any memory
    return text if len(text) <= 80 else text[:77] + "..."


def to_yaml(value: Any) -> str:
    """The YAML text of a structure, as :func:`load_yaml` would read it back."""
    return yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True)


def config_file(name: str) -> Path:
    """The shipped configuration called ``name``: beside the checkout's packages, or inside an installed one."""
    package = Path(__file__).parent
    for folder in (package.parent / "config", package / "config"):
        if (folder / name).is_file():
            return folder / name
    raise InvalidInput("shipped configuration", name, "is not installed", "reinstall, or give a path of your own")


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all: a reader never sees half of it.

    Raises:
        StorageError: its folder cannot be written to.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise StorageError("file", path, problem, "make room, or choose another folder") from error
