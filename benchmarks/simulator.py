"""The simulated microscope on one core: samples per second of CPU time, and fields of 512² positions.

CPU time of this one thread, not the clock on the wall, because the machine may be busy with something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, Raster, ScanPath, Settle, expand
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.damage import DamageConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.figures.contact_sheet import PANELS
from simulators.microscope import SimulatedMicroscope
from simulators.probe import Probe
from simulators.specimens.motion import Motion, Vibration
from simulators.specimens.specimen import Specimen

__all__ = ["run"]

IDEAL = SimulatorConfig(pace="fast")
FULL = msgspec.structs.replace(
    IDEAL,
    coils=CoilConfig(
        time_constant_us=1.0,
        slow_share=0.01,
        hum_fields=3e-4,
        landing_error_fields=2e-4,
        dac_bits=16,
        slew_fields_per_us=1.0,
    ),
    beam=BeamConfig(flicker_pct=1.0, decay_time_s=3600.0, blanker_ns=50.0),
    detectors=(DetectorConfig(decay_us=0.3, pulse_spread=0.3),),
    motion=Motion(drift_nm_per_s=(0.1, 0.1), vibrations=(Vibration(frequency_hz=120.0, amplitude_nm=(0.01, 0.0)),)),
)
MODELS = {
    "ideal coils": IDEAL,
    "full model": FULL,
    "full + hysteresis": msgspec.structs.replace(
        FULL, coils=msgspec.structs.replace(FULL.coils, hysteresis_fields=1e-4)
    ),
    "full + damage": msgspec.structs.replace(FULL, damage=DamageConfig(mass_loss=0.3)),
    "full, 3 channels": msgspec.structs.replace(
        FULL, detectors=tuple(DetectorConfig(name=kind, kind=kind, decay_us=0.3) for kind in ("HAADF", "ADF", "BF"))
    ),
}
SETTLE = Settle(time_constant_us=1.0)
PATHS: dict[str, PathRecipe] = {
    "raster 1024²": PathRecipe(pattern=Raster(), shape=(1024, 1024), fov_nm=20.0, dwell_us=1.0, settle=SETTLE),
    "spiral 1024² 1/2": PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=0.5)), shape=(1024, 1024), fov_nm=20.0, dwell_us=1.0
    ),
    "jittered 1024² 1/5": PathRecipe(
        pattern=JitteredGrid(coverage=CoverageGoal(value=0.2), seed=1),
        shape=(1024, 1024),
        fov_nm=20.0,
        dwell_us=1.0,
        settle=SETTLE,
    ),
}


def _best(call: Callable[[], None], times: int = 7) -> float:
    took = []
    for _ in range(times):
        begun = time.thread_time()
        call()
        took.append(time.thread_time() - begun)
    return min(took)


def _frame(microscope: SimulatedMicroscope, path: ScanPath) -> None:
    microscope.begin(path, 0, 0)
    left = path.count
    while left:
        block = microscope.read(1 << 16)
        if block is not None:
            left -= block.values.shape[1]


def run() -> dict[str, object]:
    """Measure, print both tables, return the figures."""
    figures: dict[str, object] = {}
    paths = {name: expand(recipe) for name, recipe in PATHS.items()}
    print(f"{'MSa/s of CPU':22}" + "".join(f"{name:>22}" for name in paths))
    for model, config in MODELS.items():
        microscope = SimulatedMicroscope(config)
        rates = {}
        for name, path in paths.items():
            _frame(microscope, path)
            rates[name] = path.count / _best(lambda p=path, m=microscope: _frame(m, p)) / 1e6
        microscope.close()
        figures[model] = {"msa_per_s": rates}
        print(f"{model:22}" + "".join(f"{rate:22.2f}" for rate in rates.values()), flush=True)

    print(f"\n{'512² positions':44}{'field / ms':>12}{'to render / ms':>16}")
    y, x = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 512 * 512)).astype(np.float32)
    fields = {}
    for title, recipe, kind, fov_nm, _ in PANELS:
        specimen = Specimen(recipe, Probe(), (kind,))
        begun = time.thread_time()
        specimen.field(fov_nm, fov_nm)
        rendered_ms = 1e3 * (time.thread_time() - begun)
        yy, xx = y * np.float32(fov_nm), x * np.float32(fov_nm)
        took_ms = 1e3 * _best(lambda s=specimen, k=kind, v=yy, u=xx, f=fov_nm: s.scattered((k,), v, u, f))
        fields[title] = {"field_ms": took_ms, "render_ms": rendered_ms}
        print(f"{title:44}{took_ms:12.1f}{rendered_ms:16.0f}", flush=True)
    figures["fields"] = fields
    return figures
