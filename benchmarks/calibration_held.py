"""How often calibration's own uncertainty holds the truth, over simulated instruments drawn by chance.

Each has coils that lag, readings that come a dwell late or not, a scintillator that glows, a gain, a dark level, a
current, a dwell and a specimen; six small scans of it are taken as ``scancontrol calibrate`` takes them. What is found
is compared with what was drawn, and what is told of an instrument that has none of it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.calibration.scans import Calibration, calibration_recipes, measured
from scancontrol.paths import expand
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.exposure import Exposure
from simulators.specimens.library import AnySpecimen, GoldOnCarbon, GrainBoundary
from simulators.specimens.lowmag import Fibres, Particles, Vesicles

__all__ = ["Drawn", "draw", "run", "summary"]

INSTRUMENTS = 100
PIXELS = 48
PROCESSES = 2
LAGS_US, GLOWS_US, DWELLS_US = (0.0, 0.3, 1.0, 2.0), (0.0, 0.1, 0.4, 1.0), (0.5, 1.0, 2.0)
CURRENTS_PA, GAINS, OFFSETS = (60.0, 200.0), (2.0, 8.0, 20.0), (100.0, 200.0, 800.0)
WITHIN = 1.96  # standard deviations

SPECIMENS: dict[str, tuple[Callable[[int], AnySpecimen], float]] = {
    "gold": (lambda seed: GoldOnCarbon(size_nm=8.0, seed=seed), 8.0),
    "grains": (lambda seed: GrainBoundary(seed=seed), 10.0),
    "particles": (lambda seed: Particles(seed=seed), 26.0),
    "vesicles": (lambda seed: Vesicles(seed=seed), 1200.0),
    "fibres": (lambda seed: Fibres(seed=seed), 4000.0),
}
"""Made from a seed, and the width of the field in nm."""


@dataclass(frozen=True)
class Drawn:
    """One instrument before one specimen: its configuration, the scans' field and dwell, and what is true of it."""

    specimen: str
    config: SimulatorConfig
    fov_nm: float
    dwell_us: float
    truth: dict[str, float]


def draw(random: np.random.Generator) -> Drawn:
    """An instrument by chance; each of lag, delay and afterglow may be none."""
    name = str(random.choice(list(SPECIMENS)))
    make, fov_nm = SPECIMENS[name]
    lag, glow, dwell_us = (float(random.choice(each)) for each in (LAGS_US, GLOWS_US, DWELLS_US))
    late = int(random.choice((0, 0, 1)))
    gain, offset = float(random.choice(GAINS)), float(random.choice(OFFSETS))
    config = SimulatorConfig(
        seed=int(random.integers(1 << 30)),
        pace="fast",
        specimen=make(int(random.integers(1000))),
        beam=BeamConfig(current_pa=float(random.choice(CURRENTS_PA))),
        coils=CoilConfig(time_constant_us=lag),
        detectors=(DetectorConfig(counts_per_electron=gain, offset_counts=offset, decay_us=glow, late_samples=late),),
    )
    truth = {"lag": lag, "delay": late * dwell_us, "afterglow": glow, "all": lag + late * dwell_us + glow}
    return Drawn(name, config, fov_nm, dwell_us, truth | {"gain": gain, "dark level": offset})


def _at(drawn: Drawn, dwell_us: float) -> dict[str, float]:
    """What is true where the dwell is another: readings are late by whole samples."""
    truth = drawn.truth | {"delay": drawn.config.detectors[0].late_samples * dwell_us}
    return truth | {"all": truth["lag"] + truth["delay"] + truth["afterglow"]}


def _errors_sds(found: Calibration, truth: dict[str, float]) -> dict[str, float]:
    """By how many of its standard deviations each quantity that is said is off."""
    told: dict[str, tuple[float | None, float | None]] = {}
    if (coils := found.coils) is not None:
        told["lag"] = (coils.coil.time_constant_us, coils.coil.time_constant_sd_us)
        told["all"] = (coils.late_us, coils.late_sd_us)
        if coils.parted:
            told |= {"delay": (coils.coil.delay_us, coils.coil.delay_sd_us)}
            told |= {"afterglow": (coils.decay_us, coils.decay_sd_us)}
    if (counted := found.counting) is not None:
        told["gain"] = (counted.counts_per_electron, counted.counts_per_electron_sd)
        told["dark level"] = (counted.offset_counts, counted.offset_sd_counts)
    return {name: (value - truth[name]) / sd for name, (value, sd) in told.items() if value is not None and sd}


def _invented(found: Calibration, truth: dict[str, float]) -> list[str]:
    """What is told of lag, delay and afterglow that there is nothing of."""
    coils = found.coils
    if coils is None or truth["all"] == 0:
        return [] if coils is None else ["all"]
    if not coils.parted:  # they are given as their sum, and said to be that
        return []
    told = {"lag": coils.coil.time_constant_us, "delay": coils.coil.delay_us, "afterglow": coils.decay_us}
    return [name for name, value in told.items() if value != 0 and truth[name] == 0]


def _scans(drawn: Drawn) -> list[CalibrationScan]:
    scans, exposure = [], Exposure(drawn.config)
    recipes = calibration_recipes(drawn.config.capabilities(), drawn.fov_nm, PIXELS, drawn.dwell_us)
    for frame, recipe in enumerate(recipes):
        path = expand(recipe)
        exposure.begin(path, 0, frame)
        blocks: list[np.ndarray] = []
        while (first := sum(map(len, blocks))) < path.count:
            blocks.append(exposure.block(first).values[0])
        values = np.concatenate(blocks).astype(np.float64)
        scans.append(CalibrationScan(path.positions, path.dwell_us, path.move_us, values))
    return scans


def _found(drawn: Drawn) -> tuple[Calibration, float]:
    """What is found of an instrument that states nothing of its afterglow, and the processor's seconds."""
    scans, detector = _scans(drawn), msgspec.structs.replace(drawn.config.detectors[0].stated(), decay_us=0.0)
    began = time.process_time()
    return measured(scans, (PIXELS, PIXELS), detector), time.process_time() - began


def run() -> dict[str, Any]:
    """The share of instruments whose truth is within 1.96 standard deviations, and what of nothing was told."""
    random = np.random.default_rng(3)
    instruments = [draw(random) for _ in range(INSTRUMENTS)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return summary(instruments, pool.map(_found, instruments))


def summary(instruments: list[Drawn], results: Iterable[tuple[Calibration, float]]) -> dict[str, Any]:
    """What was found of each, printed as it comes, and over all of them."""
    held: dict[str, list[bool]] = {}
    told_of_nothing: list[str] = []
    without_coils = summed = nothing = 0
    seconds = []
    for number, (drawn, (found, took_s)) in enumerate(zip(instruments, results, strict=True)):
        seconds.append(took_s)
        truth = _at(drawn, found.dwell_us)
        off, told = _errors_sds(found, truth), _invented(found, truth)
        nothing += drawn.truth["all"] == 0
        without_coils += found.coils is None
        summed += found.coils is not None and not found.coils.parted
        told_of_nothing += told
        for name, sds in off.items():
            held.setdefault(name, []).append(abs(sds) < WITHIN)
        listed = ", ".join(f"{name} {sds:+.1f}" for name, sds in off.items())
        facts = f"{drawn.specimen}, dwell {drawn.dwell_us:g} us, {truth}"
        print(
            f"{number:3} {facts}: off by {listed or 'nothing told'} sd{' INVENTED ' if told else ''}{', '.join(told)}"
        )
    shares = {name: {"instruments": len(each), "held": float(np.mean(each))} for name, each in held.items()}
    print(
        f"{len(instruments)} instruments, {nothing} with nothing to find; nothing told of coils {without_coils}, only "
        f"the sum {summed}; told though there is none: {told_of_nothing}; {np.median(seconds):.1f} s each"
    )
    print(f"held within {WITHIN} standard deviations: {shares}")
    return {
        "instruments": len(instruments),
        "nothing_to_find": nothing,
        "coils_not_told": without_coils,
        "only_the_sum": summed,
        "invented": told_of_nothing,
        "within": WITHIN,
        "held": shares,
        "seconds": float(np.median(seconds)),
    }
