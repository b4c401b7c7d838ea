"""Writes a measured coil model into a microscope's YAML, and leaves every other line as its author wrote it."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.files import parse_yaml, read_text, write_text

__all__ = ["with_coil", "write_coil"]

_PARENTS = ("microscope", "stated")  # of a hosted instrument's configuration, and of the simulator's


def write_coil(path: Path, coil: CoilModel, note: str) -> str:
    """Put ``coil`` into the configuration at ``path``, with ``note`` as a comment; returns the entry's key.

    The file appears whole or not at all.

    Raises:
        InvalidInput: it cannot be read, or is no YAML that can be edited.
        StorageError: it cannot be written.
    """
    before = read_text(path, "configuration", "give a microscope's YAML file")
    parse_yaml(before, str(path))  # refuses what the editing below could not follow
    text, key = with_coil(before, coil, note)
    write_text(path, text)
    return key


def with_coil(text: str, coil: CoilModel, note: str) -> tuple[str, str]:
    """``text`` with its coil entry replaced or added, and the entry's key such as ``stated.coil``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise InvalidInput("configuration", "no mapping", "has no keys", "give a microscope's configuration")
    parent_key, parent = next(
        ((key.value, value) for key, value in root.value if key.value in _PARENTS), (_PARENTS[1], None)
    )
    entry = f"coil: {_flow(coil)}  # {note}"
    if parent is None:
        return f"{text.rstrip()}\n\n{parent_key}:\n  {entry}\n", f"{parent_key}.coil"
    if not isinstance(parent, yaml.MappingNode) or parent.flow_style:
        raise InvalidInput(parent_key, "a mapping in braces", "cannot be edited in place", "write one key a line")
    old = next(((key, value) for key, value in parent.value if key.value == "coil"), None)
    indent = " " * parent.start_mark.column
    if old is None:
        at = parent.start_mark.index - parent.start_mark.column
        return f"{text[:at]}{indent}{entry}\n{text[at:]}", f"{parent_key}.coil"
    begin, last = old[0].start_mark.index, old[1]
    if isinstance(last, yaml.MappingNode) and not last.flow_style and last.value:
        last = last.value[-1][1]  # a block's own end mark is where the next key begins, past comments
    rest = text[last.end_mark.index :]
    rest = rest[rest.find("\n") :] if "\n" in rest else "\n"  # the comment beside the old values goes with them
    return f"{text[:begin]}{entry}{rest}", f"{parent_key}.coil"


def _flow(coil: CoilModel) -> str:
    """One line of YAML, with as many digits as the uncertainty deserves."""
    parts = [f"order: {coil.order}", f"time_constant_us: {_digits(coil.time_constant_us, coil.time_constant_sd_us)}"]
    if coil.order == 2:
        parts.append(f"damping: {coil.damping:.4g}")
    parts.append(f"delay_us: {_digits(coil.delay_us, coil.delay_sd_us)}")
    for name in ("time_constant_sd_us", "delay_sd_us"):
        value = getattr(coil, name)
        if value is not None:
            parts.append(f"{name}: {value:#.2g}")
    return "{" + ", ".join(parts) + "}"


def _digits(value: float, sd: float | None) -> str:
    if sd is None or not sd > 0:
        return f"{value:.6g}"
    places = min(9, max(0, 1 - math.floor(math.log10(sd))))
    return f"{value:.{places}f}"
