"""How far a long piece of work is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
from typing import Any, TextIO

from tqdm import tqdm

from scancontrol.processes.terminal import LossyText

__all__ = ["progress", "say_beside"]

tqdm.monitor_interval = 0  # no thread that outlives the bar
tqdm.set_lock(threading.RLock())  # no bar is drawn by two processes

_LINE_EVERY_S = 30.0
_LINE = "{n_fmt}/{total_fmt}{unit}, {elapsed} spent, {remaining} left, {rate_fmt}{postfix}"


class _Lines:
    """Takes a bar's drawings, each of which begins with a carriage return, and writes each on a line of its own."""

    encoding = "utf-8"

    def __init__(self, stream: LossyText) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if line := text.strip():
            self._stream.write(line + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def progress(total: int, unit: str, *, done: int = 0, quiet: bool = False, stream: TextIO | None = None) -> tqdm[Any]:
    """A bar over ``total`` pieces called ``unit``, of which ``done`` were done before. Use it in a ``with``.

    It says how many are done, how fast, and the time left. On a terminal it is redrawn in place; elsewhere it is a
    line every 30 seconds. Losing the stream (standard error) loses the words and nothing else. ``quiet``: nothing.
    """
    kept = LossyText(sys.stderr if stream is None else stream)
    terminal = kept.isatty()
    return tqdm(
        total=total,
        initial=done,
        unit=f" {unit}",
        disable=quiet,
        file=kept if terminal else _Lines(kept),
        dynamic_ncols=terminal,
        bar_format=None if terminal else _LINE,
        mininterval=0.1 if terminal else _LINE_EVERY_S,
    )


def say_beside(bar: tqdm[Any] | None, text: str) -> None:
    """A line on standard error that leaves ``bar``, where there is one, whole."""
    if bar is not None:
        bar.clear()
    LossyText(sys.stderr).write(text + "\n")
    if bar is not None:
        bar.refresh()
