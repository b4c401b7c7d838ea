"""Text from strangers, made fit for a terminal and a log: no control character in it reaches either."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_KEPT = "\n\t"


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` without control characters, escape sequences and marks that turn its direction.

    ``lines``: line ends and tabs may stay, as in a traceback; a name or a reason has none.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if (lines and character in _KEPT) or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else _REPLACEMENT
        for character in text
    )
