"""The generator behind the engine's ``Restorer``: withhold, normalise, restore, widen the interval to what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from restore.estimate.lattice.following import CrystalSearch, CrystalStream
from restore.feeding import Coming
from restore.generator.intervals import Calibration
from restore.generator.resident import Precision, Resident
from restore.generator.running import Found, Network, Ready, ready_for, run_together
from restore.generator.tiles import Tiling
from restore.generator.weights import Weights, load_weights, shipped
from restore.gridding import FrameGeometry
from restore.restorer import Before, Restoration
from restore.withholding import AtHeld, Withheld, about_specimen, carried_over, half_widths, missed_share, withhold
from scancontrol.restoration import Provenance

__all__ = ["GeneratorRestorer", "load"]

_TILING = Tiling()
_NO_LATTICE = "the frame is restored in tiles: no lattice is looked for"
_TRIAL_WAVE = 0.7  # radians per pixel


@dataclass(frozen=True)
class _Begun:
    """A frame that is ready: its samples (n,), where those are that are kept, and which are not."""

    samples: Tensor
    kept: FrameGeometry
    held: Withheld | None
    ready: Ready
    noise_variance: float | None


@dataclass(frozen=True)
class _Launched:
    """A frame that the device was told of, and what it will say, see :meth:`restore.withholding.AtHeld.asked`."""

    frame: _Begun
    found: Found
    widths: Tensor | None
    asked: Coming | None


class GeneratorRestorer:
    """Restores with trained weights; an error on withheld samples and a calibrated interval with every frame.

    Args:
        weights: as loaded; their network is changed to the precision that it computes in.
        share: of each frame's samples that are withheld; 0 uses all of them and measures nothing.
        precision: of the networks: ``single`` gives the same frame on every machine, ``auto`` the fastest.
        crystals: when a lattice is looked for, see :data:`restore.estimate.lattice.following.CrystalSearch`.
        together: how many frames are restored at once at most; see :class:`restore.generator.resident.Resident`.
        tiling: which frames are too large for one pass. In tiles no lattice is looked for.
    """

    def __init__(
        self,
        weights: Weights,
        share: float = 0.04,
        precision: Precision = "auto",
        crystals: CrystalSearch = "off",
        together: int | None = None,
        tiling: Tiling = _TILING,
    ) -> None:
        self.name = weights.name
        self.weights_hash = weights.hash
        self._weights, self._share = weights, share
        self._network = Resident(weights.network, precision, together=together)
        self._crystals = CrystalStream(crystals)
        self._tiling = tiling

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        device: torch.device | str = "cpu",
        share: float = 0.04,
        precision: Precision = "auto",
        crystals: CrystalSearch = "off",
        together: int | None = None,
    ) -> GeneratorRestorer:
        """From a weights file; the shipped ``lite`` if none is named.

        Raises:
            InvalidInput: there is no such file, or it is damaged or foreign.
        """
        return cls(load_weights(path or shipped("lite"), device), share, precision, crystals, together)

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Split the geometry; where frames may go together or are recorded, prepare the network for their size."""
        kept, _ = withhold(geometry, self._share)
        if not self._network.chooses or self._network.is_prepared(geometry.shape):
            return
        trial = torch.cos(_TRIAL_WAVE * kept.places).sum(1)  # with peaks, for which most is computed
        *planes, noise = ready_for(trial, kept).planes
        mean, weight, distance = self._tiling.first(*planes)
        self._network.prepare(mean, weight, distance, noise)

    def remember(self) -> None:
        """Record frames that begin with what the one before carried, too."""
        self._network.carries = True

    @property
    def most(self) -> int:
        """How many frames are restored at once at most, of any size."""
        return self._network.most

    def together(self, shape: tuple[int, int]) -> int:
        """How many frames of a size are restored at once at most."""
        return self._network.together(shape)[-1]

    def begin(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> _Begun:
        """Withhold some samples, take a crystal off the others, and grid them."""
        kept, held = withhold(geometry, self._share)
        used = samples if held is None else samples[held.kept]
        in_tiles = self._tiling.is_for(kept.shape)
        crystal = self._crystals.crystal(used, kept) if lattice and not in_tiles else None
        return _Begun(samples, kept, held, ready_for(used, kept, noise_variance, before, crystal), noise_variance)

    def launch(self, begun: Sequence[_Begun]) -> list[_Launched]:
        """Run the network on frames of one size; those that begin with what a frame before carried go by themselves."""
        found: list[Found | None] = [None] * len(begun)
        tiled = self._tiling.is_for(begun[0].kept.shape)
        network: Network = partial(self._tiling.restored, self._network) if tiled else self._network
        numbers = self._network.together(begun[0].kept.shape)
        alone = [[at] for at, frame in enumerate(begun) if frame.ready.began is not None]
        others = [at for at, frame in enumerate(begun) if frame.ready.began is None]
        for group in (*alone, *_in_groups(others, numbers)):
            for at, said in zip(group, run_together(network, [begun[at].ready for at in group]), strict=True):
                found[at] = said
        return [self._promised(frame, said) for frame, said in zip(begun, found, strict=True) if said is not None]

    def _promised(self, frame: _Begun, found: Found) -> _Launched:
        calibration, kept, held = self._calibration(frame), frame.kept, frame.held
        if calibration is None:
            return _Launched(frame, found, None, None)
        widths = calibration.half_width(found.scale, kept.distance, kept.touched, kept.is_drawn)
        if held is None:
            return _Launched(frame, found, widths, None)
        residual = held.residual(frame.samples, found.estimate)
        return _Launched(frame, found, widths, Coming(AtHeld.asked(residual, held, widths)))

    def _calibration(self, frame: _Begun) -> Calibration | None:
        calibration = self._weights.calibration
        return None if calibration is None else calibration.of(frame.noise_variance is not None)

    def finish(self, launched: _Launched) -> Restoration:
        """The error on the withheld samples is measured; their fall rescales the interval."""
        frame, (estimate, _, carried), widths = launched.frame, launched.found, launched.widths
        held, noise_variance, crystal = frame.held, frame.noise_variance, frame.ready.crystal
        calibration = self._calibration(frame)
        measured = expected = missed = None
        if held is not None:
            if calibration is not None and widths is not None and launched.asked is not None:
                told = AtHeld.told(launched.asked.here()[0])
                measured = told.rms
                told = told._replace(residual=about_specimen(told.residual, noise_variance))
                missed = missed_share(told.scores, held.places)
                say = held.say_on_errors if missed is None else 1.0
                expected = calibration.expected(told, say)
                widths = widths * calibration.rescale(told.scores, held.say_on_widths, missed is not None)
            else:
                residual = held.residual(frame.samples, estimate)
                measured = float(residual.square().mean().sqrt())
                residual = about_specimen(residual, noise_variance)
                widths = half_widths(residual, held.distance_px, frame.kept.distance)
                expected = carried_over(AtHeld.of(residual, held, widths))
            if crystal is not None:  # a column that no sample fell on may be any that this frame has
                widths = torch.maximum(widths, crystal.half_width)
        made_by = Provenance(
            method=self.name,
            face=self._weights.face,
            weights_hash=self.weights_hash,
            samples_used=len(frame.samples),
            withheld_rmse=measured,
            expected_rmse=expected,
            missed=missed,
            lattice_share=0.0 if crystal is None else round(crystal.share, 3),
            notices=(_NO_LATTICE,) if self._crystals.looks and self._tiling.is_for(frame.kept.shape) else (),
        )
        strain = None if crystal is None else crystal.gradient
        return Restoration(estimate, widths, made_by, carried, strain, frame.kept.distance)

    def restore(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Restoration:
        """One frame, all steps one after another."""
        (launched,) = self.launch([self.begin(samples, geometry, noise_variance, before, lattice)])
        return self.finish(launched)


def _in_groups(frames: Sequence[int], numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """In groups of the largest of ``numbers``, which rise from 1, that are left for: 7 of 1, 2, 4 are 4, 2 and 1."""
    at = 0
    while at < len(frames):
        size = max(number for number in numbers if number <= len(frames) - at)
        yield frames[at : at + size]
        at += size


load = GeneratorRestorer.load
"""What the restorer's process calls: ``load(path, device)``."""
