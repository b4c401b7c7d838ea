"""Simulated specimens to train on: noise-free ones drawn on the fly, and noisy micrographs of atomic models.

Noise-free truths are what the networks are to show; their columns, defects and edges are drawn anew for every item. The
micrographs are rendered once, before training starts (about a second each), and counted as one more group per kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from restore.training.images import ImageSet
from simulators.figures.contact_sheet import image_of
from simulators.specimens.library import AnySpecimen, Crystal, GoldOnCarbon, GrainBoundary
from simulators.specimens.lowmag import Fibres, Particles, Vesicles
from simulators.specimens.truths.columns import rendered
from simulators.specimens.truths.draws import draw

__all__ = ["Scene", "simulated_images", "specimen"]

_SIDE = 512
_MISSED_PX = 0.1  # standard deviation of how far a found lattice lies off the true one
_MISSED_HEIGHT = 0.03


@dataclass(frozen=True)
class Scene:
    """A truth to scan, (size, size) on about [0, 1]; and the lattice that is taken off it, if one is."""

    truth: Tensor
    lattice: Tensor | None = None


def specimen(
    size: int, remainder_share: float, invert_share: float, rng: np.random.Generator, device: torch.device
) -> Scene:
    """A noise-free specimen of any kind.

    A share of the crystals comes with the lattice that a restorer would have found: without their defects, a little
    off in place and height.
    """
    drawn = draw(None, (size, size), rng)
    sign, offset = (-1.0, 1.0) if rng.random() < invert_share else (1.0, 0.0)
    truth = torch.from_numpy(sign * drawn.image + np.float32(offset)).to(device)
    if drawn.period_px is None or rng.random() >= remainder_share:
        return Scene(truth)
    columns = drawn.columns
    ordinary = replace(
        columns,
        position_px=columns.position_px + rng.normal(0, _MISSED_PX, 2),
        height=columns.ordinary_height * rng.normal(1, _MISSED_HEIGHT),
    )
    ground = float(np.median(drawn.image - rendered(columns, (size, size))))
    lattice = sign * (rendered(ordinary, (size, size)) + np.float32(ground)) + np.float32(offset)
    return Scene(truth, torch.from_numpy(lattice).to(device))


def _recipes(seed: int) -> Iterator[tuple[str, AnySpecimen, str, float, float]]:
    """(group, specimen, detector, field of view in nm, electrons per pixel) without end, kinds in turn."""
    rng = np.random.default_rng((seed, 99))
    while True:
        structure = str(rng.choice(["srtio3", "cspbbr3", "si110", "gan"]))
        crystal = Crystal(
            structure=structure,
            rotation_deg=float(rng.uniform(0, 90)),
            steps=int(rng.integers(0, 5)),
            strain_pct=float(rng.uniform(0, 1.5)),
            edge=bool(rng.random() < 0.4),
            film_nm=float(rng.uniform(0, 5)),
            seed=int(rng.integers(1 << 30)),
        )
        sheet = Crystal(
            structure=str(rng.choice(["mos2", "wse2", "graphene"])),
            size_nm=8.0,
            vacancy_fraction=0.03,
            rotation_deg=float(rng.uniform(0, 60)),
            film_nm=0.3,
            seed=int(rng.integers(1 << 30)),
        )
        draw = int(rng.integers(1 << 30))
        electrons = float(np.exp(rng.uniform(np.log(100), np.log(10_000))))
        yield "simulated crystal", crystal, str(rng.choice(["HAADF", "BF"])), float(rng.uniform(5, 18)), electrons
        yield "simulated gold", GoldOnCarbon(seed=draw), "HAADF", float(rng.uniform(10, 20)), electrons
        yield "simulated fibres", Fibres(seed=draw), "HAADF", float(rng.uniform(1500, 4000)), electrons
        yield "simulated sheet", sheet, "HAADF", float(rng.uniform(3, 7)), electrons
        yield "simulated vesicles", Vesicles(seed=draw), "HAADF", float(rng.uniform(500, 1200)), electrons
        yield "simulated boundary", GrainBoundary(seed=draw), "HAADF", float(rng.uniform(5, 9)), electrons
        yield "simulated particles", Particles(seed=draw), "HAADF", float(rng.uniform(12, 26)), electrons


def simulated_images(count: int, seed: int) -> ImageSet:
    """``count`` images of 512², the same for the same seed."""

    def rendered() -> Iterator[tuple[np.ndarray, str, str]]:
        for number, (group, specimen, detector, fov_nm, electrons) in zip(range(count), _recipes(seed), strict=False):
            image = image_of(specimen, detector, fov_nm, electrons, _SIDE)
            if image.max() > image.min():
                yield image, group, f"{group} {number}"

    return ImageSet.of(rendered())
