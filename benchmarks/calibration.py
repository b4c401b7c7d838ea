"""What calibrating the scan is worth: RMSE of restored frames with nominal, calibrated and true positions.

A simulated microscope whose coils lag by 2 µs, gold particles on carbon. The coils are measured from five ordinary
scans as ``scancontrol calibrate`` takes them; then partial frames along a spiral, a jittered grid and random points,
each at two speeds and drawn without settling, are filled by one classical method with three versions of the positions.
RMSE is against the noise-free truth, scaled so that its 0.1 and 99.9 percentiles are 0 and 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore.fills.registry import fill_named
from restore.gridding import FrameGeometry
from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.calibration.estimate import estimate
from scancontrol.calibration.scans import calibration_recipes
from scancontrol.capabilities import CoilModel
from scancontrol.paths import PathRecipe, ScanPath, achieved_positions, expand
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.scattered import UniformRandom
from scancontrol.paths.patterns.spirals import Archimedean
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.exposure import Exposure
from simulators.specimens.library import GoldOnCarbon

__all__ = ["run"]

TAU_US = 2.0
SHAPE = (256, 256)
FOV_NM = 8.0
DWELLS_US = (2.0, 0.5)
FILL = "spectral_fast"
FIGURE = Path(__file__).parent.parent / "docs" / "images" / "calibration.png"

CONFIG = SimulatorConfig(
    specimen=GoldOnCarbon(size_nm=FOV_NM),
    beam=BeamConfig(current_pa=60.0),
    coils=CoilConfig(time_constant_us=TAU_US),
    detectors=(DetectorConfig(decay_us=0.1),),
)


def _expose(path: ScanPath, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (n,) along a path, where the beam was (n, 2), and the noise-free counts (rows, cols)."""
    exposure = Exposure(CONFIG)
    exposure.begin(path, 0, frame)
    truth = exposure.expected_counts(path.shape, path.fov_nm, path.dwell_per_pixel_us)[0]
    blocks, first = [], 0
    while first < path.count:
        blocks.append(exposure.block(first))
        first += len(blocks[-1])
    values = np.concatenate([block.values[0] for block in blocks]).astype(np.float64)
    return values, np.concatenate([block.achieved for block in blocks]), truth


def _calibrated() -> tuple[CoilModel, dict[str, float]]:
    scans = []
    for frame, recipe in enumerate(calibration_recipes(CONFIG.capabilities(), FOV_NM, 128, 1.0)):
        path = expand(recipe)
        values, _, _ = _expose(path, frame)
        scans.append(CalibrationScan(path.positions, path.dwell_us, path.move_us, values))
    found = estimate(scans[1:], (128, 128))
    coil = found.coil
    print(
        f"time constant {coil.time_constant_us:.3f} ± {coil.time_constant_sd_us:.3f} us (true {TAU_US}), "
        f"delay {coil.delay_us:.3f} ± {coil.delay_sd_us or 0.0:.3f} us"
    )
    return coil, {
        "true_us": TAU_US,
        "time_constant_us": coil.time_constant_us,
        "sd_us": coil.time_constant_sd_us or 0.0,
        "delay_us": coil.delay_us,
        "delay_sd_us": coil.delay_sd_us or 0.0,
    }


def run() -> dict[str, Any]:
    """The estimate, and RMSE in per cent for every path, speed and version of the positions."""
    coil, estimated = _calibrated()
    patterns = {
        "spiral": Archimedean(turn_spacing_px=4.0, extent="inscribed"),
        "jittered grid": JitteredGrid(points=SHAPE[0] * SHAPE[1] // 8, seed=4),
        "random": UniformRandom(points=SHAPE[0] * SHAPE[1] // 8, order="curve", seed=4),
    }
    table: list[dict[str, Any]] = []
    shown: list[tuple[str, np.ndarray]] = []
    print(f"{'path':8} {'dwell us':>8} {'nominal %':>10} {'calibrated %':>13} {'true %':>8}")
    for name, pattern in patterns.items():
        for dwell_us in DWELLS_US:
            path = expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=FOV_NM, dwell_us=dwell_us))
            values, true, truth = _expose(path, 0)
            low, high = np.percentile(truth, (0.1, 99.9))
            inside = _inside(name)
            row: dict[str, Any] = {"path": name, "dwell_us": dwell_us}
            for version, positions in (
                ("nominal", path.positions),
                ("calibrated", achieved_positions(path, coil)),
                ("true", true),
            ):
                geometry = FrameGeometry.from_positions(positions, SHAPE, path.dwell_us)
                filled = fill_named(FILL)(torch.from_numpy(values).float(), geometry).numpy()
                error = ((filled - truth) / (high - low))[inside]
                row[f"{version}_rmse_pct"] = 100 * float(np.sqrt(np.mean(error**2)))
                if name == "spiral" and dwell_us == DWELLS_US[-1]:
                    shown.append((f"{version}, {row[f'{version}_rmse_pct']:.1f} %", (filled - low) / (high - low)))
            if name == "spiral" and dwell_us == DWELLS_US[-1]:
                shown.insert(0, ("truth", (truth - low) / (high - low)))
            table.append(row)
            print(
                f"{name:8} {dwell_us:8g} {row['nominal_rmse_pct']:10.2f} {row['calibrated_rmse_pct']:13.2f} "
                f"{row['true_rmse_pct']:8.2f}"
            )
    _draw(shown)
    return {"fill": FILL, "estimate": estimated, "table": table}


def _inside(name: str) -> np.ndarray:
    """The pixels that the path encloses."""
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    circle = np.hypot(y - (SHAPE[0] - 1) / 2, x - (SHAPE[1] - 1) / 2) < SHAPE[0] / 2 - 6
    return circle if name == "spiral" else np.ones(SHAPE, bool)


def _draw(shown: list[tuple[str, np.ndarray]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.3), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.imshow(image[64:192, 64:192], cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
