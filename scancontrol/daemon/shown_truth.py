"""A dry run's truth on the page, while what is scanned is the field that it is of."""

from __future__ import annotations

from pathlib import Path

from scancontrol.daemon.dry_run import read_truth
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.run import Run

__all__ = ["ShownTruth"]


class ShownTruth:
    """Publishes the truth that the simulator writes at its first frame; ``file`` is None where there is none."""

    def __init__(self, file: Path | None, hub: LiveHub) -> None:
        self._file, self._hub = file, hub
        self._fov_nm: float | None = None  # of the first plan that was scanned, which the truth is of
        self._seen: Run | None = None  # the one that it was last decided for

    def look(self, run: Run | None) -> None:
        """Show it, or take it back, as the acquisition that runs wants.

        Raises:
            RecordingError: the file is no truth.
        """
        if self._file is None or run is None or run is self._seen or not self._file.exists():
            return
        plan = run.planned.plan
        self._fov_nm = self._fov_nm or plan.fov_nm
        truth = read_truth(self._file)
        same = truth is not None and truth.shape == plan.shape and plan.fov_nm == self._fov_nm
        self._hub.publish_truth(truth if same else None, run.planned.capabilities.detectors[0].name)
        self._seen = run
