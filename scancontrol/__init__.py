"""Partial-scan electron microscopy: plan, drive, record and restore live, with a fraction of the electrons.

Scripts begin at :func:`connect`; see :mod:`scancontrol.session`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scancontrol.session import (
        AsyncSession,
        Frame,
        JitteredGrid,
        LineHop,
        Picture,
        Raster,
        Serpentine,
        Session,
        Spiral,
        connect,
        connect_async,
        scan_plan,
    )

__all__ = [
    "AsyncSession",
    "Frame",
    "JitteredGrid",
    "LineHop",
    "Picture",
    "Raster",
    "Serpentine",
    "Session",
    "Spiral",
    "connect",
    "connect_async",
    "scan_plan",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What a script uses is loaded when it is asked for: a daemon needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scancontrol import session

    return getattr(session, name)
