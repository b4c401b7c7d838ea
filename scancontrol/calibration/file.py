"""Writes measured coils and detectors into a microscope's YAML, and leaves every other line as its author wrote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.files import parse_yaml, read_text, write_text

__all__ = ["with_coil", "with_detector", "write_calibration"]

_PARENTS = ("microscope", "stated")  # of a hosted instrument's configuration, and of the simulator's


def write_calibration(
    path: Path,
    coil: CoilModel | None,
    note: str,
    detectors: Sequence[DetectorChannel] = (),
    measured: DetectorChannel | None = None,
) -> list[str]:
    """Put what was measured into the configuration at ``path``; returns the entries' keys.

    Args:
        coil: with ``note`` as its comment.
        detectors, measured: all as they are stated, and what one of them is now known to be.

    The file appears whole or not at all.

    Raises:
        InvalidInput: it cannot be read, or is no YAML that can be edited.
        StorageError: it cannot be written.
    """
    text = read_text(path, "configuration", "give a microscope's YAML file")
    parse_yaml(text, str(path))  # refuses what the editing below could not follow
    keys = []
    if coil is not None:
        text, key = with_coil(text, coil, note)
        keys.append(key)
    if measured is not None:
        text, key = with_detector(text, detectors, measured)
        keys.append(key)
    write_text(path, text)
    return keys


def with_coil(text: str, coil: CoilModel, note: str) -> tuple[str, str]:
    """``text`` with its coil entry replaced or added, and the entry's key such as ``stated.coil``."""
    parent_key, parent = _parent(text)
    entry = f"coil: {_coil(coil)}  # {note}"
    old = None if parent is None else _entry(parent, "coil")
    if parent is None or old is None:
        return _added(text, parent_key, parent, entry), f"{parent_key}.coil"
    begin, last = old[0].start_mark.index, old[1]
    if isinstance(last, yaml.MappingNode) and not last.flow_style and last.value:
        last = last.value[-1][1]  # a block's own end mark is where the next key begins, past comments
    rest = text[last.end_mark.index :]
    rest = rest[rest.find("\n") :] if "\n" in rest else "\n"  # the comment beside the old values goes with them
    return f"{text[:begin]}{entry}{rest}", f"{parent_key}.coil"


def with_detector(text: str, detectors: Sequence[DetectorChannel], measured: DetectorChannel) -> tuple[str, str]:
    """``text`` with what is ``measured`` among the values of the detector of that name, and the entry's key.

    Args:
        detectors: all of them as the microscope states them: only what differs is written, and all are where the text
            has none.
    """
    parent_key, parent = _parent(text)
    entries = [] if parent is None else [pair for name in ("detector", "detectors") if (pair := _entry(parent, name))]
    if parent is None or not entries or entries[0][1].tag == "tag:yaml.org,2002:null":
        known = [measured if channel.name == measured.name else channel for channel in detectors]
        listed = [_flow(_differing(channel, DetectorChannel(name=""))) for channel in known]
        single = parent is not None and (driver := _entry(parent, "driver")) and driver[1].value == "obi"
        entry = f"detector: {listed[0]}" if single else f"detectors: [{', '.join(listed)}]"
        if entries:
            begin, end = entries[0][0].start_mark.index, entries[0][1].end_mark.index
            return f"{text[:begin]}{entry}{text[end:]}", f"{parent_key}.{entries[0][0].value}"
        return _added(text, parent_key, parent, entry), f"{parent_key}.{entry.split(':')[0]}"
    key, node = entries[0]
    stated = next(channel for channel in detectors if channel.name == measured.name)
    for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        name = _entry(one, "name") if isinstance(one, yaml.MappingNode) else None
        if isinstance(one, yaml.MappingNode) and name is not None and name[1].value == measured.name:
            return _with_values(text, one, _differing(measured, stated)), f"{parent_key}.{key.value}"
    raise InvalidInput("detectors", measured.name, "is not among those of the configuration", "name it there")


def _with_values(text: str, node: yaml.MappingNode, values: dict[str, str]) -> str:
    """Values of one mapping replaced, and added behind its last one."""
    edits = []
    added = ""
    for key, value in values.items():
        old = _entry(node, key)
        if old is not None:
            edits.append((old[1].start_mark.index, old[1].end_mark.index, value))
        elif node.flow_style:
            added += f", {key}: {value}"
        else:
            added += f"\n{' ' * node.start_mark.column}{key}: {value}"
    end = int(node.value[-1][1].end_mark.index)
    if not node.flow_style:  # past the comment on its line
        end = text.find("\n", end) if "\n" in text[end:] else len(text)
    edits.append((end, end, added))
    for begin, end, value in sorted(edits, reverse=True):
        text = f"{text[:begin]}{value}{text[end:]}"
    return text


def _parent(text: str) -> tuple[str, yaml.MappingNode | None]:
    """Where a microscope of this configuration states what it is."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise InvalidInput("configuration", "no mapping", "has no keys", "give a microscope's configuration")
    key, parent = next(((key.value, value) for key, value in root.value if key.value in _PARENTS), (_PARENTS[1], None))
    if parent is not None and (not isinstance(parent, yaml.MappingNode) or parent.flow_style):
        raise InvalidInput(key, "a mapping in braces", "cannot be edited in place", "write one key a line")
    return key, parent


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _added(text: str, parent_key: str, parent: yaml.MappingNode | None, entry: str) -> str:
    if parent is None:
        return f"{text.rstrip()}\n\n{parent_key}:\n  {entry}\n"
    at = parent.start_mark.index - parent.start_mark.column
    return f"{text[:at]}{' ' * parent.start_mark.column}{entry}\n{text[at:]}"


def _differing(channel: DetectorChannel, stated: DetectorChannel) -> dict[str, str]:
    """What a detector is beyond what is stated, as YAML."""
    found = {}
    for field in msgspec.structs.fields(DetectorChannel):
        value = getattr(channel, field.name)
        if value == getattr(stated, field.name):
            continue
        if field.name == "decay_us":
            found[field.name] = _digits(value, channel.decay_sd_us)
        elif isinstance(value, float):
            found[field.name] = f"{value:.2g}" if field.name.endswith("_sd_us") else f"{value:.4g}"
        else:
            found[field.name] = msgspec.json.encode(value).decode()
    return found


def _coil(coil: CoilModel) -> str:
    """One line of YAML, with as many digits as the uncertainty deserves."""
    values = {"order": str(coil.order), "time_constant_us": _digits(coil.time_constant_us, coil.time_constant_sd_us)}
    if coil.order == 2:
        values["damping"] = f"{coil.damping:.4g}"
    values["delay_us"] = _digits(coil.delay_us, coil.delay_sd_us)
    for name in ("time_constant_sd_us", "delay_sd_us"):
        value = getattr(coil, name)
        if value is not None:
            values[name] = f"{value:#.2g}"
    return _flow(values)


def _flow(values: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"


def _digits(value: float, sd: float | None) -> str:
    if sd is None or not sd > 0:
        return f"{value:.6g}"
    places = min(9, max(0, 1 - math.floor(math.log10(sd))))
    return f"{value:.{places}f}"
