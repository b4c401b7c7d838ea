"""Scripts and notebooks: scans of a running daemon from Python, as the page steers it.

::

    import scancontrol
    from scancontrol import Spiral

    with scancontrol.connect() as session:
        frame = session.scan(Spiral(coverage=1 / 20), fov_nm=40, dwell_us=4)
        frame.restored, frame.interval, frame.samples, frame.positions

The daemon stays the only one that drives the beam, records and keeps the limits; a session sends it the messages of
:mod:`scancontrol.daemon.page.messages` and nothing else. Read :mod:`scancontrol.session.asynchronous` first;
:mod:`scancontrol.session.synchronous` is a shell around it.
"""

from __future__ import annotations

from scancontrol.session.asynchronous import AsyncSession, connect_async
from scancontrol.session.building import JitteredGrid, LineHop, PlanLike, Raster, Serpentine, Spiral, scan_plan
from scancontrol.session.frame import Frame, Picture
from scancontrol.session.synchronous import Session, connect

__all__ = [
    "AsyncSession",
    "Frame",
    "JitteredGrid",
    "LineHop",
    "Picture",
    "PlanLike",
    "Raster",
    "Serpentine",
    "Session",
    "Spiral",
    "connect",
    "connect_async",
    "scan_plan",
]
