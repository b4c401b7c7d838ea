"""Every specimen in one picture, as a microscope sees it: ``python -m simulators.figures.contact_sheet``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scancontrol.units import length_label, scale_bar_nm
from simulators.probe import Probe
from simulators.specimens.library import AnySpecimen, Crystal, GoldOnCarbon, GrainBoundary
from simulators.specimens.lowmag import Fibres, Particles, Vesicles
from simulators.specimens.specimen import Specimen

__all__ = ["PANELS", "draw", "image_of"]

PANELS: tuple[tuple[str, AnySpecimen, str, float, float], ...] = (
    (
        "SrTiO₃ [001]: wedge, terraces, La",
        Crystal(steps=4, edge=True, dopant_number=57, dopant_host=38, dopant_fraction=0.01),
        "HAADF",
        10.0,
        1500,
    ),
    (
        "the same, bright field",
        Crystal(steps=4, edge=True, dopant_number=57, dopant_host=38, dopant_fraction=0.01),
        "BF",
        10.0,
        400,
    ),
    ("SrTiO₃ Σ5 tilt boundary with La", GrainBoundary(), "HAADF", 9.0, 1200),
    ("Au on amorphous carbon", GoldOnCarbon(), "HAADF", 20.0, 900),
    (
        "MoS₂: S vacancies, W",
        Crystal(
            structure="mos2",
            size_nm=8,
            vacancy_fraction=0.03,
            vacancy_number=16,
            dopant_number=74,
            dopant_host=42,
            dopant_fraction=0.03,
            film_nm=0.3,
        ),
        "HAADF",
        6.0,
        9000,
    ),
    (
        "WSe₂: Se vacancies, Mo",
        Crystal(
            structure="wse2",
            size_nm=8,
            rotation_deg=17,
            vacancy_fraction=0.05,
            vacancy_number=34,
            dopant_number=42,
            dopant_host=74,
            dopant_fraction=0.06,
            film_nm=0.3,
        ),
        "HAADF",
        5.6,
        6000,
    ),
    (
        "graphene: vacancies, Si",
        Crystal(
            structure="graphene",
            size_nm=6,
            rotation_deg=8,
            vacancy_fraction=0.004,
            dopant_number=14,
            dopant_host=6,
            dopant_fraction=0.004,
        ),
        "HAADF",
        3.2,
        150000,
    ),
    (
        "Si [110], strained, wedge",
        Crystal(structure="si110", size_nm=8, wedge=0.8, strain_pct=2.0, film_nm=3.0),
        "HAADF",
        5.0,
        4000,
    ),
    ("GaN [11-20]", Crystal(structure="gan", size_nm=8, thickness_nm=8, film_nm=3.0), "HAADF", 4.0, 1200),
    ("fibres", Fibres(), "HAADF", 4000.0, 500),
    ("stained vesicles", Vesicles(), "ADF", 1200.0, 400),
    ("Pt on carbon", Particles(), "HAADF", 20.0, 2500),
)
"""Title, specimen, detector, field of view in nm, electrons per pixel."""


def image_of(
    specimen: AnySpecimen, kind: str, fov_nm: float, electrons: float | None, pixels: int = 512
) -> NDArray[np.float32]:
    """A full raster (pixels, pixels): the scattered fraction, or with ``electrons`` per pixel a noisy count."""
    axis = (((np.arange(pixels) + 0.5) / pixels - 0.5) * fov_nm).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    # a wide field is seen through a small aperture, as one would at the instrument
    probe = Probe() if fov_nm < 100 else Probe(convergence_mrad=8.0, source_fwhm_nm=0.3)
    seen: NDArray[np.float32] = (
        Specimen(specimen, probe, (kind,)).scattered((kind,), y.ravel(), x.ravel(), fov_nm)[0].reshape(pixels, pixels)
    )
    if electrons is None:
        return seen
    return np.random.default_rng(1).poisson(seen * electrons).astype(np.float32)


def draw(path: Path) -> None:
    """Write the sheet as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.4, 11.4), layout="constrained")
    for axes, (title, specimen, kind, fov_nm, electrons) in zip(figure.subplots(3, 4).ravel(), PANELS, strict=True):
        image = image_of(specimen, kind, fov_nm, electrons)
        low, high = np.percentile(image, (0.3, 99.8))
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, fov_nm, fov_nm, 0), interpolation="antialiased")
        axes.set_title(f"{title}  ·  {kind}", fontsize=10.5, loc="left")
        axes.set_axis_off()
        bar = scale_bar_nm(fov_nm, 0.3)
        axes.plot([0.05 * fov_nm, 0.05 * fov_nm + bar], [0.94 * fov_nm] * 2, color="white", lw=4, solid_capstyle="butt")
        axes.text(
            0.05 * fov_nm + bar / 2,
            0.915 * fov_nm,
            length_label(bar),
            color="white",
            ha="center",
            va="bottom",
            fontsize=10,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "edgecolor": "none"},
        )
    figure.savefig(path, dpi=85)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m simulators.figures.contact_sheet", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
