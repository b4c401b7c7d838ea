"""The generator behind the engine's ``Restorer``: withhold, normalise, restore, widen the interval to what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from restore.estimate.lattice.crystal import Crystal
from restore.estimate.lattice.following import CrystalSearch, CrystalStream
from restore.generator.carried import Carried
from restore.generator.generator import Estimate
from restore.generator.resident import Precision, Resident
from restore.generator.weights import Weights, load_weights, shipped
from restore.gridding import FrameGeometry, Normalisation
from restore.restorer import Before, Restoration
from restore.withholding import AtHeld, about_specimen, carried_over, half_widths, missed_share, withhold
from scancontrol.restoration import Provenance

__all__ = ["CarriedSamples", "Found", "GeneratorRestorer", "Network", "load", "restored_with", "run_generator"]

_FARTHEST = 64.0  # spreads from the centre
_SIMILAR = 2.0  # times the contrast of a frame that the next one may have to begin with it

Network = Callable[..., Estimate]
"""A trained network: normalised partial frame, dwell, distance to the path, stated noise and perhaps what the frame
before carried in, estimate out."""


@dataclass(frozen=True)
class CarriedSamples:
    """What a network carries to the next frame, and of what: of samples ``centre + scale · value``.

    ``without`` is the share of a crystal that was taken off them; 0 without one.
    """

    carried: Carried
    centre: float
    scale: float
    without: float = 0.0

    def may_go_on(self, before: Before, scale: float) -> bool:
        """Whether the next frame, of that scale, may begin with it: not after long, nor if its contrast is another."""
        gain = before.moved.gain * self.scale
        return not self.carried.ends and scale > 0 and gain < _SIMILAR * scale and scale < _SIMILAR * gain

    def after(self, before: Before, normalisation: Normalisation) -> Carried:
        """The same for the next frame, in its normalised units."""
        moved = before.moved
        centre, scale = float(normalisation.centre[0]), float(normalisation.scale[0])
        level = moved.gain * self.centre + (1 - self.without) * moved.shift
        by = replace(moved, gain=moved.gain * self.scale / scale, shift=(level - centre) / scale)
        return self.carried.moved(by, before.changed)


class Found(NamedTuple):
    """What a network says of a frame, in the units of its samples.

    Attributes:
        estimate, scale: the frame, and its error's scale on each pixel, (rows, cols).
        carried: what the next frame may begin with, if anything.
    """

    estimate: Tensor
    scale: Tensor
    carried: CarriedSamples | None


@torch.inference_mode()
def run_generator(
    network: Network,
    samples: Tensor,
    geometry: FrameGeometry,
    noise_variance: float | None = None,
    before: Before | None = None,
) -> Found:
    """Restore samples (n,). Exactly gain-equivariant.

    Args:
        noise_variance: of a nominal sample about the specimen, in the samples' units squared, if it is known.
        before: that carried :class:`CarriedSamples`.
    """
    normalisation = _bounded(geometry.normalisation(samples), samples)
    mean, weight = geometry.grid(normalisation.apply(samples[None])[0])
    noise = torch.full_like(normalisation.scale, torch.nan if noise_variance is None else noise_variance)
    noise = (noise / normalisation.scale.square().clamp_min(1e-300)).float()
    given = (mean[None, None], weight[None, None], geometry.distance[None, None], noise)
    began: list[Carried] = []
    if before is not None and isinstance(before.carried, CarriedSamples):
        known = before.carried
        began = [known.after(before, normalisation)] if known.may_go_on(before, float(normalisation.scale[0])) else []
    found = network(*given, *began)
    carried = None
    if found.carried is not None:
        carried = CarriedSamples(found.carried, float(normalisation.centre[0]), float(normalisation.scale[0]))
    return Found(
        normalisation.invert(found.frame)[0, 0], normalisation.invert_width(found.log_scale.exp())[0, 0], carried
    )


def _bounded(normalisation: Normalisation, samples: Tensor) -> Normalisation:
    """With so large a scale that no sample (n,) is farther out than any of a single frame, whose samples are bounded.

    Of several frames together nearly all samples may be of one grey level, though each alone has a contrast.
    """
    farthest = (samples.double() - normalisation.centre).abs().max()
    return replace(normalisation, scale=torch.maximum(normalisation.scale, farthest / _FARTHEST))


def restored_with(
    network: Network,
    samples: Tensor,
    geometry: FrameGeometry,
    crystal: Crystal | None,
    noise_variance: float | None = None,
    before: Before | None = None,
) -> Found:
    """As :func:`run_generator`, with a crystal taken off the samples first and put back."""
    without = 0.0 if crystal is None else crystal.share
    known = None if before is None else before.carried
    if isinstance(known, CarriedSamples) and known.without != without:
        before = None  # what it carried is of something else
    if crystal is None:
        return run_generator(network, samples, geometry, noise_variance, before)
    rest = run_generator(network, samples - crystal.at_samples, geometry, noise_variance, before)
    carried = None if rest.carried is None else replace(rest.carried, without=without)
    return Found(torch.add(crystal.image, rest.estimate, alpha=crystal.rest), rest.scale, carried)


class GeneratorRestorer:
    """Restores with trained weights; an error on withheld samples and a calibrated interval with every frame.

    Args:
        weights: as loaded; their network is changed to the precision that it computes in.
        share: of each frame's samples that are withheld; 0 uses all of them and measures nothing.
        precision: of the networks: ``single`` gives the same frame on every machine, ``auto`` the fastest.
        crystals: when a lattice is looked for, see :data:`restore.estimate.lattice.following.CrystalSearch`.
    """

    def __init__(
        self, weights: Weights, share: float = 0.04, precision: Precision = "auto", crystals: CrystalSearch = "off"
    ) -> None:
        self.name = weights.name
        self.weights_hash = weights.hash
        self._weights, self._share = weights, share
        self._network = Resident(weights.network, precision)
        self._crystals = CrystalStream(crystals)
        self._warm: set[tuple[int, int]] = set()  # frame sizes that it has run on

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        device: torch.device | str = "cpu",
        share: float = 0.04,
        precision: Precision = "auto",
        crystals: CrystalSearch = "off",
    ) -> GeneratorRestorer:
        """From a weights file; the shipped ``lite`` if none is named.

        Raises:
            InvalidInput: there is no such file, or it is damaged or foreign.
        """
        return cls(load_weights(path or shipped("lite"), device), share, precision, crystals)

    def prepare(self, geometry: FrameGeometry, beam_us: float) -> None:
        """Split the geometry and warm the network up at this frame size."""
        kept, _ = withhold(geometry, self._share)
        if geometry.shape in self._warm:
            return
        self._warm.add(geometry.shape)
        trial = torch.linspace(0, 1, kept.count, device=kept.device)
        run_generator(self._network, trial, kept)

    def restore(
        self,
        samples: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
        lattice: bool = True,
    ) -> Restoration:
        """Restore from all but the withheld samples; their error is measured and their fall rescales the interval."""
        kept, held = withhold(geometry, self._share)
        used = samples if held is None else samples[held.kept]
        crystal = self._crystals.crystal(used, kept) if lattice else None
        estimate, scale, carried = restored_with(self._network, used, kept, crystal, noise_variance, before)
        widths: Tensor | None = None
        measured = expected = missed = None
        calibration = self._weights.calibration
        if calibration is not None:
            calibration = calibration.of(noise_variance is not None)
            widths = calibration.half_width(scale, kept.distance, kept.touched, kept.is_drawn)
        if held is not None:
            residual = held.residual(samples, estimate)
            if calibration is not None and widths is not None:
                told = AtHeld.of(residual, held, widths)
                measured = told.rms
                told = told._replace(residual=about_specimen(told.residual, noise_variance))
                missed = missed_share(told.scores, held.places)
                say = held.say_on_errors if missed is None else 1.0
                expected = calibration.rms_share * carried_over(told, say)
                widths = widths * calibration.rescale(told.scores, held.say_on_widths, missed is not None)
            else:
                measured = float(residual.square().mean().sqrt())
                residual = about_specimen(residual, noise_variance)
                widths = half_widths(residual, held.distance_px, kept.distance)
                expected = carried_over(AtHeld.of(residual, held, widths))
            if crystal is not None:  # a column that no sample fell on may be any that this frame has
                widths = torch.maximum(widths, crystal.half_width)
        made_by = Provenance(
            method=self.name,
            face=self._weights.face,
            weights_hash=self.weights_hash,
            samples_used=len(samples),
            withheld_rmse=measured,
            expected_rmse=expected,
            missed=missed,
            lattice_share=0.0 if crystal is None else round(crystal.share, 3),
        )
        strain = None if crystal is None else crystal.gradient
        return Restoration(estimate, widths, made_by, carried, strain)


load = GeneratorRestorer.load
"""What the restorer's process calls: ``load(path, device)``."""
