"""The resident engine: paths prepared once, then samples in, estimate and interval out.

``Engine`` is what the restorer's process and every script call. It keeps one geometry per path on its device,
warms up whatever restores on it, and withholds a few samples of every frame, so that each restoration carries an
error that was measured. What restores is a ``Restorer``: a classical fill here, the generator through the same
protocol.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.fills.registry import FILLS, Fill, fill_named
from restore.gridding import MIN_SAMPLES, FrameGeometry
from restore.withholding import carried_over, growth_along, half_widths, withhold
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath, achieved_positions
from scancontrol.restoration import Provenance

__all__ = ["Engine", "FillRestorer", "PreparedPath", "Restoration", "Restorer", "trial_samples"]

_SHARE_OF_BEAM = 0.7  # of the beam's time may go into the fill; the rest is for gridding, interval and the wire


def trial_samples(geometry: FrameGeometry) -> Tensor:
    """Samples (n,) of a random image whose power falls as that of micrographs does, to warm up and to time with.

    White noise would not do: what converges takes no time on it.
    """
    rows, cols = geometry.shape
    y, x = torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(cols)
    falling = 1 / (y.square() + x.square() + 1e-4).sqrt()
    noise = torch.randn(rows, len(x), dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    image = torch.fft.irfft2(noise * falling, s=(rows, cols))
    return image.flatten().to(geometry.device)[geometry.index]


@dataclass(frozen=True)
class Restoration:
    """One restored frame.

    Attributes:
        estimate: (rows, cols) float32, in the units of the samples.
        interval: (rows, cols) float32, half-width of the 90 % interval in the same units, or None.
        made_by: what made it, from how much, and the errors that were measured; same units.
    """

    estimate: Tensor
    interval: Tensor | None
    made_by: Provenance


class Restorer(Protocol):
    """Anything that restores. ``restore`` must not keep its arguments; ``prepare`` may be called for any path."""

    name: str
    weights_hash: str

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Warm up for frames of this geometry, which the beam takes ``beam_us`` to scan."""

    def restore(self, samples: Tensor, geometry: FrameGeometry) -> Restoration:
        """Restore a frame from samples (n,) along ``geometry``, both on the engine's device."""


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
        self._times_us: dict[tuple[str, tuple[int, int]], float] = {}

    def method_for(self, geometry: FrameGeometry) -> str:
        """The name of the fill that frames of this geometry get."""
        return self._fill(geometry).name

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Warm up; with ``auto``, measure the live fills in the order of their cost until one is too slow."""
        withhold(geometry, self._share)
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
        if geometry not in self._chosen:
            self.prepare(geometry, math.inf)
        chosen: Fill = self._chosen[geometry]
        return chosen

    def restore(self, samples: Tensor, geometry: FrameGeometry) -> Restoration:
        """Fill from all but the withheld samples; their error makes the interval."""
        kept, held = withhold(geometry, self._share)
        fill = self._fill(geometry)
        if held is None:
            made_by = Provenance(method=fill.name, face="classical", samples_used=len(samples))
            return Restoration(fill(samples, geometry), None, made_by)
        estimate = fill(samples[held.kept], kept)
        residual = held.residual(samples, estimate)
        growth = growth_along(samples, geometry)
        widths = half_widths(residual, held.distance_px, kept.distance, growth=growth)
        made_by = Provenance(
            method=fill.name,
            face="classical",
            samples_used=len(samples),
            withheld_rmse=float(residual.square().mean().sqrt()),
            expected_rmse=carried_over(residual, held, widths),
        )
        return Restoration(estimate, widths, made_by)


@dataclass(frozen=True)
class PreparedPath:
    """A registered path on the engine's device."""

    path: ScanPath
    geometry: FrameGeometry
    beam_us: float
    method: str  # what restores frames of this path
    restore_ms: float  # what one frame took, warm
    _prefixes: OrderedDict[int, FrameGeometry] = field(default_factory=OrderedDict, compare=False, repr=False)

    def first(self, count: int, restorer: Restorer) -> FrameGeometry:
        """The geometry of the first ``count`` samples, prepared; the few last asked for are kept."""
        if count == self.geometry.count:
            return self.geometry
        if count not in self._prefixes:
            prefix = self.geometry.prefix(count)
            restorer.prepare(prefix, self.beam_us)
            self._prefixes[count] = prefix
            while len(self._prefixes) > 16:
                self._prefixes.popitem(last=False)
        return self._prefixes[count]


class Engine:
    """Restores frames along registered paths on one device. Not thread-safe: one thread owns it."""

    def __init__(self, restorer: Restorer, device: torch.device | str = "cpu", paths_limit: int = 64) -> None:
        self.restorer = restorer
        self.device = torch.device(device)
        self._limit = paths_limit
        self._paths: OrderedDict[str, PreparedPath] = OrderedDict()

    def __contains__(self, path_id: str) -> bool:
        return path_id in self._paths

    @torch.inference_mode()
    def register(self, path: ScanPath, coil: CoilModel | None = None) -> PreparedPath:
        """Prepare a path and warm the restorer up on it; the least recently used path may have to go.

        Raises:
            InvalidInput: the path has too few samples inside the field, or the frame is too small.
        """
        achieved = None
        if coil is not None and (coil.time_constant_us != 0 or coil.delay_us != 0):
            achieved = achieved_positions(path, coil)
        geometry = FrameGeometry.from_path(path, self.device, achieved)
        self.restorer.prepare(geometry, path.duration_us)
        trial = trial_samples(geometry)
        self.restorer.restore(trial, geometry)
        started = time.perf_counter()
        method = self.restorer.restore(trial, geometry).made_by.method
        prepared = PreparedPath(path, geometry, path.duration_us, method, 1e3 * (time.perf_counter() - started))
        self._paths[path.path_id] = prepared
        self._paths.move_to_end(path.path_id)
        while len(self._paths) > self._limit:
            self._paths.popitem(last=False)
        return prepared

    def path(self, path_id: str) -> PreparedPath:
        """A registered path. Raises :class:`InvalidInput` if it is not (or no longer) known."""
        try:
            self._paths.move_to_end(path_id)
        except KeyError:
            raise InvalidInput("path_id", path_id, "is not registered", "register its recipe first") from None
        return self._paths[path_id]

    @torch.inference_mode()
    def restore(self, samples: np.ndarray, path_id: str, sound: np.ndarray | None = None) -> Restoration:
        """Restore from the first ``len(samples)`` samples of a path; the result's images are on the processor.

        ``sound``, bool (n,), says which of them are to be used; those left out are as if never measured.

        Raises:
            InvalidInput: unknown path, too many or fewer than ``MIN_SAMPLES`` samples, NaN or infinity among them.
        """
        prepared = self.path(path_id)
        count = len(samples)
        if not MIN_SAMPLES <= count <= prepared.geometry.count:
            raise InvalidInput(
                "samples",
                count,
                f"is outside {MIN_SAMPLES} to the path's {prepared.geometry.count}",
                "send the first samples of the registered path",
            )
        geometry = prepared.first(count, self.restorer)
        if sound is not None and not sound.all():
            samples, geometry = samples[sound], geometry.select(torch.from_numpy(sound).to(self.device))
            self.restorer.prepare(geometry, prepared.beam_us)
        values = torch.from_numpy(samples.astype(np.float32)).to(self.device)
        if not bool(torch.isfinite(values).all()):
            raise InvalidInput("samples", "NaN or Inf", "is no reading", "mask or replace the faulty samples")
        result = self.restorer.restore(values, geometry)
        interval = None if result.interval is None else result.interval.float().cpu().contiguous()
        return replace(result, estimate=result.estimate.float().cpu().contiguous(), interval=interval)
