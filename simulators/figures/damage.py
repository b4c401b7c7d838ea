"""Why to visit fewer pixels, in one figure: ``python -m simulators.figures.damage --out FILE.png``.

The same beam-sensitive crystal twice: under full rasters, and under as many frames that visit 1/20 of the pixels at
the same dwell, each frame other ones. Every frame is really scanned by the simulated microscope; the pictures show
the specimen as it is afterwards, free of noise.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, Raster, ScanPath, expand
from simulators.column.beam import BeamConfig
from simulators.column.damage import DamageConfig, KnockOn
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.microscope import SimulatedMicroscope
from simulators.specimens.library import Crystal

__all__ = ["SPECIMEN", "Outcome", "draw", "expose"]

_Kind = TypeVar("_Kind", bound=np.generic)

FOV_NM = 10.0
DWELL_US = 4.0

SPECIMEN = SimulatorConfig(
    name="beam-sensitive crystal",
    pace="fast",
    specimen=Crystal(structure="cspbbr3", size_nm=12.0, thickness_nm=8.0, edge=True, film_nm=2.0),
    beam=BeamConfig(current_pa=1.0),
    detectors=(DetectorConfig(counts_per_electron=100.0, offset_counts=0.0),),
    damage=DamageConfig(
        critical_dose_e_per_a2=4000.0,
        mass_loss=0.35,
        mass_onset_e_per_a2=3000.0,
        mass_scale_e_per_a2=12000.0,
        knock_on=KnockOn(atomic_number=35, cross_section_barn=1500.0),
        diffusion_nm2_per_s=2.0,
        diffusion_life_s=0.2,
        diffusion_limit_e_per_a2=300.0,
        diffusion_gain=0.3,
    ),
)
"""CsPbBr3 under 1 pA: critical doses of halide perovskites are some thousand e/Å²."""


@dataclass(frozen=True)
class Outcome:
    """One way to scan: images (rows, cols) before and after, dose map, mean order of the crystal after each frame."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    dose_e_per_a2: NDArray[np.float64]
    order: NDArray[np.float64]
    electrons: float


def expose(frames: int, pixels: int, coverage: float | None) -> Outcome:
    """Scan frames of ``pixels``²: full rasters, or jittered grids of ``coverage`` with a seed for each frame."""
    microscope = SimulatedMicroscope(SPECIMEN)
    exposure = microscope.exposure
    before = exposure.expected_counts((pixels, pixels), FOV_NM, DWELL_US)[0]
    order, electrons = [1.0], 0.0
    for frame in range(frames):
        path = _path(pixels, coverage, frame)
        microscope.begin(path, 0, frame)
        left = path.count
        while left:
            block = microscope.read(1 << 16)
            if block is not None:
                left -= block.values.shape[1]
                electrons += block.electrons
        if exposure.damage is not None:
            order.append(
                float(_inner(exposure.damage.order, exposure.dose.extent_nm if exposure.dose else (1, 1)).mean())
            )
    after = exposure.expected_counts((pixels, pixels), FOV_NM, DWELL_US, damaged=True)[0]
    dose = exposure.dose
    if dose is None:
        raise RuntimeError("no frame was scanned")
    microscope.close()
    return Outcome(before, after, _inner(dose.electrons / dose.cell_a2, dose.extent_nm), np.array(order), electrons)


def _inner(cells: NDArray[_Kind], extent_nm: tuple[float, float]) -> NDArray[_Kind]:
    """The part of a map of the whole scene that lies in the field of view."""
    margin = [round(size * (1 - FOV_NM / length) / 2) for size, length in zip(cells.shape, extent_nm, strict=True)]
    return cells[margin[0] : cells.shape[0] - margin[0], margin[1] : cells.shape[1] - margin[1]]


def _path(pixels: int, coverage: float | None, frame: int) -> ScanPath:
    pattern = Raster() if coverage is None else JitteredGrid(coverage=CoverageGoal(value=coverage), seed=frame)
    return expand(PathRecipe(pattern=pattern, shape=(pixels, pixels), fov_nm=FOV_NM, dwell_us=DWELL_US))


def draw(path: Path, frames: int = 50, pixels: int = 512, share: int = 20) -> tuple[Outcome, Outcome]:
    """Scan both ways and write the figure; both outcomes are returned."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    full, sparse = expose(frames, pixels, None), expose(frames, pixels, 1 / share)
    low, high = np.percentile(full.before, (0.3, 99.8))
    figure = Figure(figsize=(14, 8.6), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    images = (
        (full.before, "Before"),
        (full.after, f"After {frames} full rasters"),
        (sparse.after, f"After {frames} frames at 1/{share}"),
    )
    for column, (image, title) in enumerate(images):
        axes = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, FOV_NM, FOV_NM, 0))
        axes.set_title(title, fontsize=14, loc="left")
        axes.set_axis_off()
        axes.plot([0.5, 2.5], [FOV_NM - 0.5] * 2, color="white", lw=4, solid_capstyle="butt")
        axes.text(
            1.5,
            FOV_NM - 0.7,
            "2 nm",
            color="white",
            ha="center",
            va="bottom",
            fontsize=11,
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "edgecolor": "none"},
        )
    top = float(np.percentile(full.dose_e_per_a2, 99)) * 1.2
    for column, (outcome, title) in enumerate(((full, "full rasters"), (sparse, f"1/{share}"))):
        axes = figure.add_subplot(grid[1, 2 * column : 2 * column + 2])
        drawn = axes.imshow(outcome.dose_e_per_a2[2:-2, 2:-2], cmap="inferno", norm=LogNorm(top / 1000, top))
        mean = outcome.dose_e_per_a2.mean()
        axes.set_title(f"Dose, {title}: mean {mean:,.0f} e/Å²", fontsize=12, loc="left")
        axes.set_axis_off()
        figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02).set_label("e/Å²", fontsize=10)
    axes = figure.add_subplot(grid[1, 4:6])
    axes.plot(full.order, lw=2.5, color="#b5482a", label="full rasters")
    axes.plot(sparse.order, lw=2.5, color="#1f5fa8", label=f"frames at 1/{share}")
    axes.set_xlabel("frames", fontsize=11)
    axes.set_ylabel("crystalline order left", fontsize=11)
    axes.set_ylim(0, 1.03)
    axes.set_xlim(0, frames)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=11, frameon=False)
    axes.set_title("What is left of the crystal", fontsize=12, loc="left")
    figure.savefig(path, dpi=80)
    return full, sparse


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m simulators.figures.damage", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--pixels", type=int, default=512)
    arguments = parser.parse_args()
    for name, outcome in zip(
        ("full rasters", "at 1/20"), draw(arguments.out, arguments.frames, arguments.pixels), strict=True
    ):
        print(  # noqa: T201 - the command's answer
            f"{name}: mean dose {outcome.dose_e_per_a2.mean():,.0f} e/Å², order left {outcome.order[-1]:.3f}"
        )


if __name__ == "__main__":
    main()
