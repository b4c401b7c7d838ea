"""How often calibration's own uncertainty holds the truth, over simulated instruments drawn by chance.

Each has coils that lag, readings that come a dwell late or not, a scintillator that glows, a current and a specimen;
five small scans of it are taken as ``scancontrol calibrate`` takes them. What is found is compared with what was drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scancontrol.calibration.estimate import CalibrationScan, CoilEstimate, estimate
from scancontrol.calibration.scans import calibration_recipes
from scancontrol.errors import InvalidInput
from scancontrol.paths import expand
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.exposure import Exposure
from simulators.specimens.library import GoldOnCarbon

__all__ = ["run"]

INSTRUMENTS = 100
PIXELS, FOV_NM = 64, 8.0
LAGS_US, GLOWS_US, DWELLS_US = (0.0, 0.3, 1.0, 2.0), (0.0, 0.1, 0.4, 1.0), (0.5, 1.0, 2.0)
CURRENTS_PA = (60.0, 200.0)
WITHIN = 1.96  # standard deviations


def _scans(config: SimulatorConfig, dwell_us: float, seed: int) -> list[CalibrationScan]:
    scans = []
    for frame, recipe in enumerate(calibration_recipes(config.capabilities(), FOV_NM, PIXELS, dwell_us)):
        path, exposure = expand(recipe), Exposure(config)
        exposure.begin(path, seed, frame)
        blocks: list[np.ndarray] = []
        while (first := sum(map(len, blocks))) < path.count:
            blocks.append(exposure.block(first).values[0])
        values = np.concatenate(blocks).astype(np.float64)
        scans.append(CalibrationScan(path.positions, path.dwell_us, path.move_us, values))
    return scans


def _off(found: CoilEstimate, truth: dict[str, float]) -> dict[str, float]:
    """By how many of its standard deviations each quantity is off."""
    coil = found.coil
    told = {"lag": (coil.time_constant_us, coil.time_constant_sd_us), "all": (found.late_us, found.late_sd_us)}
    if found.parted:
        told |= {"delay": (coil.delay_us, coil.delay_sd_us), "afterglow": (found.decay_us, found.decay_sd_us)}
    return {name: (value - truth[name]) / sd for name, (value, sd) in told.items()}  # type: ignore[operator]


def run() -> dict[str, Any]:
    """The share of instruments whose truth is within 1.96 standard deviations, for each quantity."""
    random = np.random.default_rng(0)
    held: dict[str, list[bool]] = {}
    refused = 0
    for number in range(INSTRUMENTS):
        lag, glow = float(random.choice(LAGS_US)), float(random.choice(GLOWS_US))
        late, dwell_us = int(random.choice((0, 0, 1))), float(random.choice(DWELLS_US))
        config = SimulatorConfig(
            specimen=GoldOnCarbon(size_nm=FOV_NM, seed=int(random.integers(99))),
            beam=BeamConfig(current_pa=float(random.choice(CURRENTS_PA))),
            coils=CoilConfig(time_constant_us=lag),
            detectors=(DetectorConfig(decay_us=glow, late_samples=late),),
        )
        truth = {"lag": lag, "delay": late * dwell_us, "afterglow": glow, "all": lag + late * dwell_us + glow}
        try:
            off = _off(estimate(_scans(config, dwell_us, number), (PIXELS, PIXELS)), truth)
        except InvalidInput as refusal:
            refused += 1
            print(f"{number:3} {truth}, dwell {dwell_us:g} us: {refusal.limit}")
            continue
        for name, sds in off.items():
            held.setdefault(name, []).append(abs(sds) < WITHIN)
        told = ", ".join(f"{name} {sds:+.1f}" for name, sds in off.items())
        print(f"{number:3} {truth}, dwell {dwell_us:g} us: off by {told} standard deviations")
    shares = {name: {"instruments": len(each), "held": float(np.mean(each))} for name, each in held.items()}
    print(f"{refused} of {INSTRUMENTS} refused; held within {WITHIN} standard deviations: {shares}")
    return {"instruments": INSTRUMENTS, "refused": refused, "within": WITHIN, "held": shares}
