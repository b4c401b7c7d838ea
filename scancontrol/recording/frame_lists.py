"""Frames and detectors as a person names them: ``0,4-7``, ``BF``, ``all``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scancontrol.errors import InvalidInput

__all__ = ["add_channels", "add_frames", "channel_names", "frame_list", "frame_numbers"]


def add_frames(parser: argparse.ArgumentParser) -> None:
    """Add ``--frames``, to be read by :func:`frame_numbers`."""
    parser.add_argument("--frames", metavar="N,N-N", help="which frames, such as 0,4-7 (default: all)")


def add_channels(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--channel``, to be read by :func:`channel_names`; ``default`` is said in its help."""
    parser.add_argument(
        "--channel",
        metavar="NAME",
        action="append",
        help=f"a detector by its name, or 'all'; may be repeated (default: {default})",
    )


def channel_names(wanted: Sequence[str] | None, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    """The detectors that ``--channel`` named, of those ``known``; ``default`` for None.

    Raises:
        InvalidInput: one is not known.
    """
    if wanted is None:
        return default
    chosen: dict[str, None] = {}
    for name in wanted:
        if name != "all" and name not in known:
            raise InvalidInput("channel", name, "is not in the recording", f"choose of {', '.join(known)}, or all")
        chosen |= dict.fromkeys([name] if name in known else known)
    return tuple(chosen)


def frame_numbers(text: str | None, known: Sequence[int]) -> list[int]:
    """The frames that ``text`` lists (``0,4-7``), in its order; all of ``known`` for None.

    Raises:
        InvalidInput: it is no such list, or a frame is not known.
    """
    if text is None:
        return list(known)
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidInput("frames", text, "is not a list of frames", "write it like 0,4-7")
        low, high = int(first), int(last or first)
        if low not in known or high not in known or high < low:
            there = f"{known[0]} to {known[-1]}" if known else "none"
            raise InvalidInput("frames", part.strip(), "is not in the recording", f"choose of its frames: {there}")
        chosen += [frame for frame in known if low <= frame <= high]
    return chosen


def frame_list(frames: Sequence[int]) -> str:
    """``0,4-7`` for [0, 4, 5, 6, 7], such that :func:`frame_numbers` gives them back."""
    parts: list[list[int]] = []
    for frame in frames:
        if parts and frame == parts[-1][-1] + 1:
            parts[-1][1:] = [frame]
        else:
            parts.append([frame])
    return ",".join("-".join(map(str, part)) for part in parts)
