"""A dry run's truth on the page, of the frame that is shown, while what is scanned is the field that it is of."""

from __future__ import annotations

from pathlib import Path

from scancontrol.daemon.moving_truth import MovingTruth
from scancontrol.daemon.page.hub import LiveHub, RestorationView
from scancontrol.daemon.run import Run

__all__ = ["ShownTruth"]


class ShownTruth:
    """Publishes the truth that the simulator writes; ``file`` is None where there is none."""

    def __init__(self, file: Path | None, hub: LiveHub) -> None:
        self._truth, self._hub = None if file is None else MovingTruth(file), hub
        self._fov_nm: float | None = None  # of the first plan that was scanned, which the truth is of
        self._seen: tuple[Run, object] | None = None  # the run and the restoration's frame that it was decided for

    def look(self, run: Run | None) -> None:
        """Show it, or take it back, as the acquisition that runs wants.

        Raises:
            RecordingError: the file is no truth.
        """
        truth = self._truth
        if truth is None or run is None or (still := truth.still) is None:
            return
        newest = self._hub.newest("restoration")
        restored = newest[1] if newest is not None and isinstance(newest[1], RestorationView) else None
        of = None if restored is None else (restored.series_id, restored.frame)
        if self._seen is not None and self._seen[0] is run and self._seen[1] == of:
            return
        plan, name = run.planned.plan, run.planned.capabilities.detectors[0].name
        self._fov_nm = self._fov_nm or plan.fov_nm
        image = None
        if still.shape == plan.shape and plan.fov_nm == self._fov_nm:
            image = still if restored is None else truth.of(restored.frame)
        self._hub.publish_truth(image, name, of=None if image is None else of)
        self._seen = run, of
