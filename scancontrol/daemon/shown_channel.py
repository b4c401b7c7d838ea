"""Which detector is shown and restored while samples come: what the operator chose, of those that are recorded."""

from __future__ import annotations

__all__ = ["ShownChannel"]


class ShownChannel:
    """The operator's choice, for this acquisition and those after it; may be changed at any moment, from any thread.

    ``name`` is what is chosen; empty for the first detector of every plan. ``beside`` is another that is shown and
    restored with it; empty for none. Each is replaced as a whole.
    """

    def __init__(self, name: str = "", beside: str = "") -> None:
        self.name, self.beside = name, beside

    def among(self, recorded: tuple[str, ...]) -> str:
        """The one of ``recorded`` that is shown: the chosen one, or the first where that is not recorded."""
        name = self.name
        return name if name in recorded else recorded[0]

    def beside_among(self, recorded: tuple[str, ...]) -> str | None:
        """The one of ``recorded`` that is shown beside :meth:`among`; None where there is none."""
        return self.beside if self.beside in recorded and self.beside != self.among(recorded) else None
