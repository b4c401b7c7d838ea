"""The fast specimen model beside abTEM's multislice, for two crystals: positions, contrast, spectrum.

Needs abTEM in an environment of its own (see README.md here); nothing imports this file. One unit cell is scanned at
the probe's Nyquist rate inside a supercell that holds the probe's tails, with frozen phonons; by periodicity that is
the whole crystal, so the images are interpolated in Fourier space and tiled without loss.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulators.probe import Probe
from simulators.specimens.crystals import CRYSTALS
from simulators.specimens.library import Crystal
from simulators.specimens.specimen import Specimen

Array = NDArray[np.float64]

PROBE = Probe(energy_kev=200.0, convergence_mrad=24.0, source_fwhm_nm=0.08)
INNER_MRAD = {"BF": (0, 24), "ADF": (24, 60), "HAADF": (60, 135)}
FINE = 64  # pixels along the shorter side of the unit cell, after interpolation


@dataclass(frozen=True)
class Case:
    """A crystal, how much of it, and the columns (name: fractions of the cell, (y, x)) to be looked at."""

    structure: str
    cells: tuple[int, int]  # of the supercell, (y, x)
    layers: tuple[int, ...]  # thicknesses in cells
    scan: tuple[int, int]
    columns: dict[str, tuple[float, float]]
    ratios: tuple[tuple[str, str], ...]
    phonons: int  # configurations of frozen phonons


CASES = (
    Case(
        "srtio3",
        (3, 3),
        (1, 5),
        (16, 16),
        {"Sr": (0.25, 0.25), "Ti-O": (0.75, 0.75), "O": (0.75, 0.25)},
        (("Sr", "Ti-O"), ("Ti-O", "O")),
        3,
    ),
    Case(
        "mos2",
        (3, 5),
        (1,),
        (24, 14),
        {"Mo": (1 / 6, 0.25), "S2": (0.5, 0.25), "hollow": (5 / 6, 0.25)},
        (("Mo", "S2"), ("S2", "hollow")),
        4,
    ),
)


def multislice(case: Case, seed: int = 1) -> dict[str, Array]:
    """Scattered fractions (thicknesses, *scan) of one unit cell for each detector, from abTEM."""
    import abtem
    from ase import Atoms

    abtem.config.set({"device": "cpu", "fft": "numpy", "diagnostics.progress_bar": False, "dask.lazy": False})
    cell = CRYSTALS[case.structure]
    lengths = np.array(cell.lengths_nm) * 10
    unit = Atoms(
        numbers=[row[0] for row in cell.basis], scaled_positions=[row[1:] for row in cell.basis], cell=lengths, pbc=True
    )
    atoms = unit.repeat((*case.cells, max(case.layers)))
    configurations = abtem.FrozenPhonons(atoms, case.phonons, sigmas=10 * cell.thermal_nm, seed=seed)
    slice_a = lengths[2] / (2 if not cell.layered else 6)
    slices_per_cell = 2 if not cell.layered else 6
    planes = tuple(slices_per_cell * layers - 1 for layers in case.layers)
    potential = abtem.Potential(
        configurations, sampling=0.06, slice_thickness=slice_a, parametrization="lobato", exit_planes=planes
    )
    probe = abtem.Probe(energy=PROBE.energy_kev * 1e3, semiangle_cutoff=PROBE.convergence_mrad)
    probe.grid.match(potential)
    scan = abtem.GridScan(start=(0, 0), end=(lengths[0], lengths[1]), gpts=case.scan, endpoint=False)
    detectors = [abtem.AnnularDetector(inner=low, outer=high) for low, high in INNER_MRAD.values()]
    begun = time.process_time()
    measured = probe.scan(potential, scan=scan, detectors=detectors, max_batch=16)
    images = {}
    for kind, image in zip(INNER_MRAD, measured, strict=True):
        array = np.asarray(image.array, np.float64)
        images[kind] = array.reshape(-1, *case.scan)[-len(case.layers) :]
    print(f"{case.structure}: multislice took {time.process_time() - begun:.0f} s of CPU time", flush=True)
    return images


def interpolated(image: Array, cell_nm: tuple[float, float], shape: tuple[int, int]) -> Array:
    """A periodic image (rows, cols) on a finer grid, blurred by the source as the fast model's is."""
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    rows, cols = image.shape
    ky, kx = (np.arange(n) - n // 2 for n in (rows, cols))
    sigma = PROBE.source_fwhm_nm / 2.354820
    k2 = (ky[:, None] / cell_nm[0]) ** 2 + (kx[None, :] / cell_nm[1]) ** 2
    spectrum = spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * k2)
    spectrum[0, :] *= rows % 2  # the Nyquist row of an even grid has no partner
    spectrum[:, 0] *= cols % 2
    wide = np.zeros(shape, complex)
    top, left = shape[0] // 2 - rows // 2, shape[1] // 2 - cols // 2
    wide[top : top + rows, left : left + cols] = spectrum
    return np.fft.ifft2(np.fft.ifftshift(wide)).real * (shape[0] * shape[1] / (rows * cols))


def fast(case: Case, layers: int, shape: tuple[int, int]) -> dict[str, Array]:
    """The same unit cell from the simulator's model."""
    cell = CRYSTALS[case.structure]
    a, b, c = cell.lengths_nm
    recipe = Crystal(structure=case.structure, size_nm=8.0, thickness_nm=c * layers)
    specimen = Specimen(recipe, PROBE, tuple(INNER_MRAD))
    extent = specimen.field(8.0, 8.0).extent_nm
    y = -extent[0] / 2 + np.arange(shape[0]) / shape[0] * a
    x = -extent[1] / 2 + np.arange(shape[1]) / shape[1] * b
    yy, xx = np.meshgrid(y, x, indexing="ij")
    seen = specimen.scattered(tuple(INNER_MRAD), yy.ravel(), xx.ravel(), 8.0)
    return {kind: plane.reshape(shape).astype(np.float64) for kind, plane in zip(INNER_MRAD, seen, strict=True)}


def value_at(image: Array, place: tuple[float, float]) -> float:
    """The periodic image at fractions of the cell, exactly (Fourier interpolation)."""
    spectrum = np.fft.fft2(image) / image.size
    phase_y = np.exp(2j * np.pi * np.fft.fftfreq(image.shape[0], 1 / image.shape[0]) * place[0])
    phase_x = np.exp(2j * np.pi * np.fft.fftfreq(image.shape[1], 1 / image.shape[1]) * place[1])
    return float((phase_y @ spectrum @ phase_x).real)


def peak_near(image: Array, place: tuple[float, float], cell_nm: tuple[float, float]) -> tuple[float, float]:
    """Where the maximum nearest to a column lies, in nm from the column's place: climbing a parabola through 3 × 3."""
    rows, cols = image.shape
    i, j = round(place[0] * rows) % rows, round(place[1] * cols) % cols
    for _ in range(rows):
        around = np.array([[image[(i + di) % rows, (j + dj) % cols] for dj in (-1, 0, 1)] for di in (-1, 0, 1)])
        di, dj = (int(n) - 1 for n in np.unravel_index(np.argmax(around), (3, 3)))
        if di == dj == 0:
            break
        i, j = i + di, j + dj
    offsets = []
    for line in (around[:, 1], around[1, :]):
        offsets.append(0.5 * (line[0] - line[2]) / (line[0] - 2 * line[1] + line[2]))
    y, x = (i + offsets[0]) / rows - place[0], (j + offsets[1]) / cols - place[1]
    return (y - round(y)) * cell_nm[0], (x - round(x)) * cell_nm[1]


def reflections(image: Array, cell_nm: tuple[float, float], highest_per_nm: float) -> tuple[Array, Array]:
    """Spatial frequencies (1/nm) and amplitudes relative to the mean, radially averaged over equal frequencies."""
    spectrum = np.abs(np.fft.fft2(image)) / np.abs(image.sum())
    ky = np.fft.fftfreq(image.shape[0], cell_nm[0] / image.shape[0])
    kx = np.fft.fftfreq(image.shape[1], cell_nm[1] / image.shape[1])
    k = np.hypot(ky[:, None], kx[None, :]).round(6)
    rings = [ring for ring in np.unique(k) if 0 < ring <= highest_per_nm]
    return np.array(rings), np.array([np.sqrt((spectrum[k == ring] ** 2).mean()) for ring in rings])


def compare(case: Case, images: dict[str, Array]) -> dict[str, object]:
    """All figures of one crystal, for each thickness."""
    cell = CRYSTALS[case.structure]
    a, b, c = cell.lengths_nm
    shape = (round(FINE * a / min(a, b)) // 2 * 2, round(FINE * b / min(a, b)) // 2 * 2)
    found = []
    for number, layers in enumerate(case.layers):
        true = {kind: interpolated(images[kind][number], (a, b), shape) for kind in images}
        ours = fast(case, layers, shape)
        row: dict[str, object] = {"thickness_nm": round(c * layers, 3)}
        for name, model in (("multislice", true), ("fast", ours)):
            haadf = model["HAADF"]
            at = {column: value_at(haadf, place) for column, place in case.columns.items()}
            places = {
                column: [round(1e3 * v, 2) for v in peak_near(haadf, case.columns[column], (a, b))]
                for column in list(case.columns)[:2]
            }
            k, power = reflections(haadf, (a, b), PROBE.cutoff_per_nm * 0.75)
            row[name] = {
                "fraction_at_column": {column: round(value, 5) for column, value in at.items()},
                "ratio": {f"{up}/{down}": round(at[up] / at[down], 2) for up, down in case.ratios},
                "position_error_pm": places,
                "mean_fraction": {kind: round(float(plane.mean()), 5) for kind, plane in model.items()},
                "spectrum": {f"{ring:.2f}": round(float(p), 4) for ring, p in zip(k, power, strict=True)},
            }
        row["correlation"] = {
            kind: round(float(np.corrcoef(true[kind].ravel(), ours[kind].ravel())[0, 1]), 4) for kind in images
        }
        found.append(row)
    return {"structure": case.structure, "thicknesses": found}


def draw(path: Path, images: dict[str, dict[str, Array]]) -> None:
    """Both models side by side: tiled images, profiles through the columns, reflections."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.6, 7.6), layout="constrained")
    axes = figure.subplots(2, 4, width_ratios=(1, 1, 1.35, 1.35))
    for row, (case, number) in enumerate(((CASES[0], 1), (CASES[1], 0))):
        cell = CRYSTALS[case.structure]
        a, b, c = cell.lengths_nm
        shape = (round(FINE * a / min(a, b)) // 2 * 2, round(FINE * b / min(a, b)) // 2 * 2)
        true = interpolated(images[case.structure]["HAADF"][number], (a, b), shape)
        ours = fast(case, case.layers[number], shape)["HAADF"]
        title = {"srtio3": f"SrTiO₃ [001], {c * case.layers[number]:.1f} nm", "mos2": "MoS₂, one layer"}[case.structure]
        tiles = (round(1.2 / a), round(1.2 / b))
        for column, (image, name) in enumerate(((true, "multislice"), (ours, "fast model"))):
            axes[row, column].imshow(
                np.tile(image, tiles), cmap="gray", extent=(0, tiles[1] * b, tiles[0] * a, 0), vmin=0, vmax=image.max()
            )
            axes[row, column].set_title(f"{title}: {name}", fontsize=11, loc="left")
            axes[row, column].set_axis_off()
            axes[row, column].plot([0.05, 0.55], [tiles[0] * a - 0.06] * 2, color="white", lw=4, solid_capstyle="butt")
        names = list(case.columns)
        start, stop = (0.25, 0.25), (1.25, 1.25)
        if case.structure == "mos2":
            start, stop = (1 / 6, 0.25), (1 + 1 / 6, 0.25)
        along = np.linspace(0, 1, 161)
        length = float(np.hypot((stop[0] - start[0]) * a, (stop[1] - start[1]) * b))
        for image, name, style in ((true, "multislice", "-"), (ours, "fast model", "--")):
            line = [
                value_at(image, (start[0] + (stop[0] - start[0]) * t, start[1] + (stop[1] - start[1]) * t))
                for t in along
            ]
            axes[row, 2].plot(along * length, np.array(line) * 100, style, lw=2, label=name)
        axes[row, 2].set_xlabel("nm along " + ("[110]: Sr, Ti-O, Sr" if row == 0 else f"{names[0]}, S₂, hollow, Mo"))
        axes[row, 2].set_ylabel("HAADF, % of the beam")
        axes[row, 2].set_ylim(0)
        axes[row, 2].legend(frameon=False)
        axes[row, 2].grid(alpha=0.3)
        for image, name, marker in ((true, "multislice", "o"), (ours, "fast model", "x")):
            k, power = reflections(image, (a, b), PROBE.cutoff_per_nm * 0.75)
            axes[row, 3].semilogy(k, power, marker, ms=8, mew=2, mfc="none", label=name)
        axes[row, 3].set_xlabel("spatial frequency, 1/nm")
        axes[row, 3].set_ylabel("amplitude relative to the mean")
        axes[row, 3].set_ylim(1e-4, 2)
        axes[row, 3].legend(frameon=False)
        axes[row, 3].grid(alpha=0.3)
    figure.savefig(path, dpi=80)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="multislice images are kept here")
    parser.add_argument("--figure", type=Path, metavar="FILE.png")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    images, figures = {}, []
    for case in CASES:
        kept = arguments.cache / f"{case.structure}-{case.phonons}.npz"
        if not kept.exists():
            np.savez(kept, **multislice(case))
        with np.load(kept) as file:
            images[case.structure] = {kind: file[kind] for kind in INNER_MRAD}
        figures.append(compare(case, images[case.structure]))
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    if arguments.figure:
        draw(arguments.figure, images)


if __name__ == "__main__":
    main()
