"""The terminal as something that may be lost, be full, or not know a letter: words go with it, and nothing else."""

from __future__ import annotations

import errno
import sys
from typing import TextIO, cast

__all__ = ["LossyText", "guard", "lost_output"]


class LossyText:
    """A text stream whose writes never fail. Letters that its encoding lacks become ``?``.

    ``failed`` says whether something could not be written for another reason than that the reader had seen enough.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failed = False

    def write(self, text: str) -> int:
        """Write what can be written, at once or never."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        except (OSError, ValueError) as error:
            self._note(error)
        return len(text)

    def flush(self) -> None:
        """Have it written, if it can be."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._note(error)

    def isatty(self) -> bool:
        """Whether somebody may be looking."""
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def _note(self, error: Exception) -> None:
        self.failed |= not (isinstance(error, OSError) and error.errno == errno.EPIPE)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def guard() -> None:
    """Make standard output and standard error of this process lossy."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, LossyText):
            setattr(sys, name, cast("TextIO", LossyText(stream)))


def lost_output() -> bool:
    """Whether something that was to be on standard output could not be written there."""
    stream = sys.stdout
    if not isinstance(stream, LossyText):
        return False
    stream.flush()
    return stream.failed
