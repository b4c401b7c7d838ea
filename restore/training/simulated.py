"""Simulated specimens among the training images: kinds of sample and contrast that the micrographs lack.

They are rendered once, before training starts (about a second each), and counted as one more group per kind.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from restore.training.images import ImageSet
from simulators.figures.contact_sheet import image_of
from simulators.specimens.library import AnySpecimen, Crystal, GoldOnCarbon, GrainBoundary
from simulators.specimens.lowmag import Fibres, Particles, Vesicles

__all__ = ["simulated_images"]

_SIDE = 512


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
