"""What restores: the protocol that every restorer keeps, what it returns, and samples to warm one up with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from restore.gridding import FrameGeometry
from scancontrol.restoration import Provenance

__all__ = [
    "STILL",
    "Before",
    "Movement",
    "OneByOne",
    "Restoration",
    "Restorer",
    "Stepwise",
    "practised",
    "trial_samples",
]

_PRACTISED_PX = 1 << 20  # of a frame that is restored for practice
_TRIAL_SIDE = 512  # of the frame that is in place of a larger one


@dataclass(frozen=True)
class Movement:
    """From a frame to the next: of the specimen in pixels down and right, and of the samples' scale.

    A value ``v`` of the frame before is ``gain · v + shift`` in the next one.
    """

    y_px: float
    x_px: float
    gain: float = 1.0
    shift: float = 0.0

    def halved(self) -> Movement:
        """The same on pixels of twice the size."""
        return replace(self, y_px=self.y_px / 2, x_px=self.x_px / 2)

    def after(self, first: Movement) -> Movement:
        """Both, one after the other."""
        gain, shift = self.gain * first.gain, self.gain * first.shift + self.shift
        return Movement(self.y_px + first.y_px, self.x_px + first.x_px, gain, shift)


STILL = Movement(0.0, 0.0)


@dataclass(frozen=True)
class Restoration:
    """One restored frame.

    Attributes:
        estimate: (rows, cols) float32, in the units of the samples; float64 where float32 could not tell its greys
            apart, as with readings of 10⁸ ± 10.
        interval: (rows, cols) float32, half-width of the 90 % interval in the same units, or None.
        made_by: what made it, from how much, and the errors that were measured; same units.
        carried: what the restorer itself may begin the next frame of the stream with, if it can.
        strain: the gradient of the lattice's displacement, where one was found, with its deviations, (8, n, n) float32;
            see :func:`restore.estimate.lattice.strain.gradient_grid`.
        distance: of each pixel to the nearest sample that it was made from, in pixels, (rows, cols), if it is known.
    """

    estimate: Tensor
    interval: Tensor | None
    made_by: Provenance
    carried: object | None = None
    strain: Tensor | None = None
    distance: Tensor | None = None


@dataclass(frozen=True)
class Before:
    """What a frame before this one handed on.

    Attributes:
        carried: what its restoration carried.
        moved: how the specimen and the samples' scale have changed since.
        changed: where more than its place has changed, bool (rows, cols); None if nowhere.
    """

    carried: object
    moved: Movement
    changed: Tensor | None = None


class Restorer(Protocol):
    """Anything that restores. ``restore`` must not keep its arguments; ``prepare`` may be called for any path."""

    name: str
    weights_hash: str

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Make what frames of this geometry need, which the beam takes ``beam_us`` to scan; restores none of them."""

    def restore(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Restoration:
        """Restore a frame from samples (n,) along ``geometry``, both on the engine's device.

        The samples are judged: about unit size, bounded, and of no weight in the geometry where one is left out.
        ``noise_variance`` is that of a nominal sample about the specimen, in their units squared, where it is known.
        ``before`` is what a restoration by this restorer of a frame before carried; it may be passed over.
        Without ``lattice`` none is used, if the restorer knows what that is.
        """


@runtime_checkable
class Stepwise(Protocol):
    """A restorer that does in three steps what ``restore`` does, so that frames can be under way together.

    Between the steps a frame is a value of the restorer's own.
    """

    def remember(self) -> None:
        """From now on frames come with what the one before carried; called before anything is prepared."""

    @property
    def most(self) -> int:
        """How many frames are worth being launched at once, of any size."""

    def together(self, shape: tuple[int, int]) -> int:
        """How many frames of a size are worth being launched at once."""

    def begin(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Any:
        """Get a frame ready, see :meth:`Restorer.restore`."""

    def launch(self, begun: Sequence[Any]) -> Sequence[Any]:
        """Tell the device to restore frames of one size; nothing waits for it."""

    def finish(self, launched: Any) -> Restoration:
        """One of those frames, once it is restored. Its images may still be being computed."""


class OneByOne:
    """A restorer that knows no steps, as one that does all in the middle one."""

    def __init__(self, restorer: Restorer) -> None:
        self._restorer, self.most = restorer, 1

    def remember(self) -> None:
        """It may pass over what is carried."""

    def together(self, shape: tuple[int, int]) -> int:
        """One, of any size."""
        del shape
        return 1

    def begin(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Any:
        """What to ask; a restorer is only told of what there is."""
        if before is not None or not lattice:
            return samples, geometry, noise_variance, before, lattice
        return (samples, geometry) if noise_variance is None else (samples, geometry, noise_variance)

    def launch(self, begun: Sequence[Any]) -> Sequence[Restoration]:
        """Restore them."""
        return [self._restorer.restore(*asked) for asked in begun]

    def finish(self, launched: Restoration) -> Restoration:
        """It is there."""
        return launched


def practised(restorer: Restorer, geometry: FrameGeometry, beam_us: float) -> tuple[str, float]:
    """What restores frames of a geometry, once it is warm, and how many milliseconds one takes.

    On a processor a large frame takes longer to restore than to scan, so there a smaller one says how long it takes.
    """
    times = 1.0
    if geometry.device.type == "cpu" and geometry.weight.numel() > _PRACTISED_PX:
        times = geometry.weight.numel() / _TRIAL_SIDE**2
        geometry = _small_trial(geometry.touched)
        restorer.prepare(geometry, beam_us / times)
    asked = (trial_samples(geometry), geometry, None, None, False)  # of a random image nobody wants the lattice
    restorer.restore(*asked)
    began = time.perf_counter()
    method = restorer.restore(*asked).made_by.method
    return method, 1e3 * (time.perf_counter() - began) * times


def _small_trial(touched: float) -> FrameGeometry:
    """A frame of samples anywhere, as dense as those that touch that share of a larger one, on the processor."""
    count = max(round(touched * _TRIAL_SIDE**2), 1024)
    positions = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    return FrameGeometry.from_positions(positions, (_TRIAL_SIDE, _TRIAL_SIDE))


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
