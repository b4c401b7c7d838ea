"""The classical fills behind the engine: the best one that keeps up, and an interval from withheld samples."""

from __future__ import annotations

import math
import time

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.fills.registry import FILLS, Fill, fill_named
from restore.gridding import FrameGeometry
from restore.restorer import Before, Restoration, trial_samples
from restore.withholding import AtHeld, about_specimen, carried_over, growth_along, half_widths, withhold
from scancontrol.restoration import Provenance

__all__ = ["FillRestorer"]

_SHARE_OF_BEAM = 0.7  # of the beam's time may go into the fill; the rest is for gridding, interval and the wire


class FillRestorer:
    """A classical fill with an interval from its own withheld samples.

    ``auto`` takes, for each path, the best live fill that keeps up with the beam: the last of the registry's live
    fills whose measured time on this machine is below the path's beam time, and push–pull if none is.
    """

    weights_hash = ""

    def __init__(self, method: str = "auto", share: float = 0.04) -> None:
        self.name = method
        self._fixed = None if method == "auto" else fill_named(method)
        self._share = share
        self._chosen = WeakIdKeyDictionary()  # geometry → fill
        self._beam_us: dict[tuple[int, int], float] = {}  # of the last path prepared, by frame size
        self._times_us: dict[tuple[str, tuple[int, int]], float] = {}

    def method_for(self, geometry: FrameGeometry) -> str:
        """The name of the fill that frames of this geometry get."""
        return self._fill(geometry).name

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Warm up; with ``auto``, measure the live fills in the order of their cost until one is too slow."""
        withhold(geometry, self._share)
        self._beam_us[geometry.shape] = beam_us
        if self._fixed is not None:
            return
        best = FILLS["push_pull"]
        for fill in (fill for fill in FILLS.values() if fill.live):
            if self._time_us(fill, geometry, beam_us) > _SHARE_OF_BEAM * beam_us:
                break
            best = fill
        self._chosen[geometry] = best

    def _time_us(self, fill: Fill, geometry: FrameGeometry, enough_us: float) -> float:
        """Time of one frame on this machine, the best of three; measured once for each fill and frame size."""
        key = (fill.name, geometry.shape)
        if key not in self._times_us:
            trial = trial_samples(geometry)
            best = math.inf
            for _ in range(3):
                started = time.perf_counter()
                fill(trial, geometry).sum().item()  # .item() waits for a device that works asynchronously
                best = min(best, 1e6 * (time.perf_counter() - started))
                if not enough_us / 10 < best < 10 * enough_us:
                    break  # plainly fast enough, or plainly not
            self._times_us[key] = best
        return self._times_us[key]

    def _fill(self, geometry: FrameGeometry) -> Fill:
        if self._fixed is not None:
            return self._fixed
        geometry = geometry.planned or geometry
        if geometry not in self._chosen:
            self.prepare(geometry, self._beam_us.get(geometry.shape, math.inf))
        chosen: Fill = self._chosen[geometry]
        return chosen

    def restore(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Restoration:
        """Fill from all but the withheld samples; their error makes the interval."""
        kept, held = withhold(geometry, self._share)
        fill = self._fill(geometry)
        if held is None:
            made_by = Provenance(method=fill.name, face="classical", samples_used=len(samples))
            return Restoration(fill(samples, geometry), None, made_by)
        estimate = fill(samples[held.kept], kept)
        residual = held.residual(samples, estimate)
        measured = float(residual.square().mean().sqrt())
        residual = about_specimen(residual, noise_variance)
        growth = growth_along(samples, geometry, noise_variance)
        widths = half_widths(residual, held.distance_px, kept.distance, growth=growth)
        made_by = Provenance(
            method=fill.name,
            face="classical",
            samples_used=len(samples),
            withheld_rmse=measured,
            expected_rmse=carried_over(AtHeld.of(residual, held, widths)),
        )
        return Restoration(estimate, widths, made_by, distance=kept.distance)
