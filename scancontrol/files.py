"""Small files in and out: text, CSV and YAML in, bounded and refused in one sentence; whole files or none out.

YAML is safely loaded and strictly typed: unknown keys and keys given twice are refused, types are not coerced, and
the message names the file, the place in it and the remedy. A number is what YAML 1.2 calls one: ``1e3`` is 1000, while
``1:30`` (90 to YAML 1.1) and ``010`` (8 to it) are no numbers.
"""

from __future__ import annotations

import csv
import io
import os
import re
import reprlib
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from scancontrol.errors import InvalidInput, StorageError

__all__ = [
    "MAX_FILE_BYTES",
    "beside",
    "config_file",
    "convert",
    "is_at",
    "load_yaml",
    "parse_yaml",
    "read_bytes",
    "read_csv",
    "read_text",
    "to_yaml",
    "write_bytes",
    "write_text",
    "writing",
]

MAX_FILE_BYTES = 4 << 20
"""A configuration is written by a person; a larger file is something else, opened by mistake."""

T = TypeVar("T")

_MAX_NESTING = 64
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 80, 80


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2, dates as the text that they are, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {_brief.repr(key.value)} is given twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either kind of reader would take for a number."""


_NUMBERS = (
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
)
_AS_IN_1_1 = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _AS_IN_1_1]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _form, _first in _NUMBERS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_form})$"), list(_first))


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read ``path`` as a ``kind`` (a msgspec structure).

    Raises:
        InvalidInput: the file cannot be read, is not YAML, or does not describe a ``kind``.
    """
    content = parse_yaml(read_text(path, "configuration", "give a readable YAML file"), str(path))
    return convert({} if content is None else content, kind, str(path), path)


def read_text(path: Path, what: str, remedy: str = "give a text file", limit: int = MAX_FILE_BYTES) -> str:
    """The text of a small UTF-8 file, with or without a byte order mark. ``what`` it is names it in a refusal.

    Raises:
        InvalidInput: it cannot be read, is larger than ``limit`` bytes, or is no UTF-8.
    """
    try:
        return read_bytes(path, what, remedy, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidInput(
            what, path, f"is not UTF-8 text (line {line})", f"{remedy}, saved in the encoding UTF-8"
        ) from error


def read_bytes(path: Path, what: str, remedy: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file that is not large.

    Raises:
        InvalidInput: it cannot be read, or is larger than ``limit`` bytes.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(1 + (min(limit, found.st_size) if stat.S_ISREG(found.st_mode) else limit))
    except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError
        problem = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise InvalidInput(what, path, problem, remedy) from error
    if len(content) > limit:
        raise InvalidInput(what, path, f"is above {limit} bytes", remedy)
    return content


def read_csv(path: Path, what: str, columns: Sequence[str] = (), limit: int = 64 << 20) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by column. ``columns`` have to be there.

    Raises:
        InvalidInput: it cannot be read, is larger than ``limit`` bytes, is no UTF-8, no CSV, or lacks a column.
    """
    text = read_text(path, what, "give a CSV file with a header", limit)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        found, rows = list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise InvalidInput(what, path, f"is no CSV: {error}", "mend it") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise InvalidInput(
            what, path, f"has no column {', '.join(missing)}", f"name the columns in its first line; it has {found}"
        )
    return [{key: value or "" for key, value in row.items() if key is not None} for row in rows]


def parse_yaml(text: str, source: str) -> Any:
    """Plain data from YAML, by the safe loader.

    Raises:
        InvalidInput: the text is not YAML, nests too deeply, or holds a value that cannot be.
    """
    if _nests_too_deeply(text):
        raise InvalidInput("configuration", source, "nests too deeply", "give a YAML file written by hand")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, with fewer guesses
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


def convert(content: Any, kind: type[T], source: str, file: Path | None = None) -> T:
    """Turn plain data into a ``kind``; the error names ``source``, the place, and the value found there.

    Where the data came from a ``file``, every :class:`~pathlib.Path` in it is made absolute, :func:`beside` it.
    """

    def path_of(wanted: type, value: Any) -> Path:
        if wanted is not Path or not isinstance(value, str):
            raise TypeError(f"Expected `path`, got `{type(value).__name__}`")
        return beside(Path("-") if file is None else file.absolute(), value)

    try:
        return msgspec.convert(content, kind, dec_hook=path_of)
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
        value = _value_at(content, place)
        if re.match(r"Expected `(int|float)[^,]*, got `str`", message) and re.search(r"\d", value):
            remedy = "write it as a plain number without quotes, colons or zeros in front"
        if message.startswith("Invalid") and (words := _words_at(kind, place)):
            remedy = f"choose from {', '.join(words)}"
        raise InvalidInput(f"{place} in {source}", value, f"is not valid: {message}", remedy) from error


def _words_at(kind: Any, place: str) -> list[str]:
    """The words that a msgspec path allows, where it leads to a choice of words or of structures; else none."""
    found = [msgspec.inspect.type_info(kind)]
    for key, _ in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", place):
        found = [each for one in found for each in getattr(one, "types", (one,))]
        structures = [one for one in found if isinstance(one, msgspec.inspect.StructType)]
        tags = [str(one.tag) for one in structures if key and one.tag_field == key]
        if tags:
            return sorted(tags)
        if key:
            found = [field.type for one in structures for field in one.fields if field.encode_name == key]
        else:
            found = [one.item_type for one in found if hasattr(one, "item_type")]
    found = [each for one in found for each in getattr(one, "types", (one,))]
    return [str(value) for one in found for value in getattr(one, "values", ())]


def _value_at(content: Any, place: str) -> str:
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
    return yaml.dump(msgspec.to_builtins(value, enc_hook=str), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def config_folder() -> Path:
    """Where the shipped configurations are: beside the checkout's packages, or inside an installed one.

    Raises:
        InvalidInput: the installation has none.
    """
    package = Path(__file__).parent
    for folder in (package.parent / "config", package / "config"):
        if (folder / "daemon.yaml").is_file():
            return folder
    raise InvalidInput("shipped configurations", package, "are not installed", "install scancontrol again")


def config_file(name: str) -> Path:
    """The shipped configuration called ``name``.

    Raises:
        InvalidInput: there is none of that name.
    """
    path = config_folder() / name
    if not path.is_file():
        raise InvalidInput("shipped configuration", name, "is not installed", "reinstall, or give a path of your own")
    return path


def beside(file_or_folder: Path, name: str) -> Path:
    """The path that a file names: from its own folder, wherever the program runs; ``~`` is the home folder."""
    folder = file_or_folder if file_or_folder.is_dir() else file_or_folder.parent
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:
        raise InvalidInput("path", name, "begins with ~ of nobody", "write the folder out") from error


@contextmanager
def writing(path: Path, what: str = "file") -> Iterator[Path]:
    """A name to write a file under, which becomes ``path`` once it is complete: a reader never sees half of it.

    The content reaches the disk before the name does. A failure leaves the old file, or none.

    Raises:
        StorageError: its folder cannot be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        problem = f"cannot be written ({error.strerror or error})"
        raise StorageError(what, path, problem, "make room, or choose another folder") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_at(descriptor: int, path: Path) -> bool:
    """Whether ``path`` is the file that is open as ``descriptor``, and not removed or another one."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def write_bytes(path: Path, content: bytes | memoryview, what: str = "file") -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: its folder cannot be written to.
    """
    with writing(path, what) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, as UTF-8.

    Raises:
        StorageError: its folder cannot be written to.
    """
    write_bytes(path, text.encode())


def write_private(path: Path, text: str) -> None:
    """Write a small file that nobody but its owner can read, from its first byte on.

    Raises:
        StorageError: its folder cannot be written to.
    """
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise StorageError("file", path, problem, "make room, or choose another folder") from error
