"""A running daemon as an ophyd-async detector, for bluesky's plans. Needs the extra ``bluesky``.

::

    from bluesky import RunEngine
    from bluesky import plans as bp
    from ophyd_async.core import init_devices
    from scancontrol import Spiral, scan_plan
    from scancontrol.session.bluesky import ScanDetector

    run = RunEngine()
    with init_devices():
        microscope = ScanDetector(scan_plan(Spiral(coverage=1 / 20), fov_nm=40, dwell_us=4))
    run(bp.scan([microscope], microscope.dwell_us, 2, 8, 3))    # three dwell times

Staging connects, each trigger is one scan, unstaging ends the session. What ends a plan ends its scan: the beam is
blanked and the recording closed as for any script that fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

try:
    from ophyd_async.core import AsyncStatus, StandardReadable, StandardReadableFormat
    from ophyd_async.core import soft_signal_r_and_setter as read_only
    from ophyd_async.core import soft_signal_rw as settable
except ImportError as error:
    raise ImportError("ophyd-async is not installed: pip install 'scancontrol[bluesky]'") from error

from scancontrol.errors import LinkError
from scancontrol.plan.plan import ScanPlan
from scancontrol.session.asynchronous import AsyncSession, connect_async

__all__ = ["ScanDetector"]


class ScanDetector(StandardReadable):
    """One scan of a plan at each trigger; its last frame is what is read.

    Args:
        plan: what is scanned; of it ``dwell_us``, ``fov_nm`` and ``rotation_deg`` can be moved as a motor is.
        where: as for :func:`scancontrol.connect`.
        name: of the device, in front of every key.
        connecting: further arguments of :func:`scancontrol.connect`.

    Attributes:
        dwell_us, fov_nm, rotation_deg: of the next scan.
        restored: float32 (rows, cols), the restoration; the partial frame where nothing restores.
        mean: of the samples.
        withheld_rmse: error on the samples that were kept from the restorer, in sample units; NaN if it is not known.
        recording: name of the file that holds the samples.
    """

    def __init__(self, plan: ScanPlan, where: str | Path = "runs", name: str = "", **connecting: Any) -> None:
        self._plan, self._where, self._connecting = plan, where, connecting
        self._session: AsyncSession | None = None
        with self.add_children_as_readables():  # in every event, for they may be moved between two
            self.fov_nm = settable(float, plan.fov_nm, units="nm")
            self.rotation_deg = settable(float, plan.rotation_deg, units="deg")
            self.dwell_us = settable(float, plan.dwell_us, units="us")
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.mean, self._set_mean = read_only(float, float("nan"))
            self.withheld_rmse, self._set_withheld = read_only(float, float("nan"))
        with self.add_children_as_readables():
            self.recording, self._set_recording = read_only(str, "")
            self.restored, self._set_restored = read_only(np.ndarray, np.zeros(plan.shape, np.float32))
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Connect to the daemon."""
        await super().stage()
        self._session = await connect_async(self._where, **self._connecting)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Scan once."""
        if self._session is None:
            raise LinkError(f"{self.name} is not staged; use a plan that does, such as bluesky.plans.count")
        changes = {name: await getattr(self, name).get_value() for name in ("dwell_us", "fov_nm", "rotation_deg")}
        frame = await self._session.scan(msgspec.structs.replace(self._plan, **changes))
        made_by = frame.made_by
        withheld = None if made_by is None else made_by.withheld_rmse
        self._set_restored(frame.partial if frame.restored is None else frame.restored)
        self._set_mean(float(frame.samples[0].mean()))
        self._set_withheld(float("nan") if withheld is None else withheld)
        self._set_recording(frame.recording)

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """End the session, and a scan that still runs with it."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await super().unstage()
