"""What a restored frame costs: parameters, operations, and milliseconds of each part of the generator.

``engine`` is the whole of it as the restorer does it: weights that ship, samples of a spiral at 1/20 in; estimate,
interval and measured error out. ``frame`` is the network with its start, as it is resident: in the device's fast
precision and, on a GPU, replayed from a recording. Its share of the machine's peak is that of both networks'
multiplications and additions, against those of large matrices multiplied in the same precision on the same device.

On a processor the figures are the shortest of many wall times, and the processor time beside them, which other work on
the machine lengthens less. On a GPU they are the median of many frames, by events.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from restore.engine import Engine
from restore.estimate.process import spectral_start
from restore.generator.generator import Generator
from restore.generator.planes import network_planes
from restore.generator.presets import PRESETS
from restore.generator.resident import Resident
from restore.generator.restorer import GeneratorRestorer
from restore.generator.subnetworks import conditions_of
from restore.generator.weights import shipped
from restore.process.memory import keep_freed_memory
from restore.restorer import trial_samples
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, expand

SIDE, FRAMES, COVERAGE = 512, 24, 0.05


@torch.inference_mode()
def run() -> dict[str, Any]:
    """Return figures by preset."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = next(Resident(Generator().to(device)).network.outer.parameters()).dtype
    peak_gflops = _peak_gflops(device, precision)
    figures: dict[str, Any] = {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": str(precision),
        "peak_gflops": round(peak_gflops),
    }
    keep_freed_memory()  # as the restorer does
    print(f"{device}, {torch.get_num_threads()} threads, {precision}, {peak_gflops:.0f} GFLOP/s; wall (processor) ms")
    for name in PRESETS:
        figures[name] = _in_engine(name, device) | _in_parts(name, device, peak_gflops)
    return figures


def _in_engine(name: str, device: torch.device) -> dict[str, float]:
    """A frame of the weights of that name, in the engine that the restorer keeps."""
    engine = Engine(GeneratorRestorer.load(shipped(name), device), device)
    recipe = PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=COVERAGE)), shape=(SIDE, SIDE), fov_nm=float(SIDE), dwell_us=1.0
    )
    path = engine.register(expand(recipe)).path
    samples = trial_samples(engine.path(path.path_id).geometry).cpu().numpy()
    wall, processor = _milliseconds(lambda: engine.restore(samples, path.path_id), device)
    print(f"{name:>6} in the resident engine, {SIDE}², spiral 1/20: {wall:.1f} ({processor:.1f})")
    return {"engine_ms": round(wall, 2), "engine_processor_ms": round(processor, 2)}


def _in_parts(name: str, device: torch.device, peak_gflops: float) -> dict[str, float]:
    """Sizes of the preset, and what each of its parts takes on samples scattered at random."""
    config = PRESETS[name]
    torch.manual_seed(0)
    weight = (torch.rand(1, 1, SIDE, SIDE) < COVERAGE).float().to(device)
    mean = torch.randn(1, 1, SIDE, SIDE).to(device) * weight
    network = Generator(config).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    resident = Resident(network)
    start = spectral_start(mean, weight, iterations=config.spectral_iterations)
    precision = resident.network.outer.stem.weight.dtype
    half, full = (x.to(precision) for x in network_planes(weight, weight, start))
    noise = torch.full((1,), torch.nan, device=device)
    conditions = conditions_of(start.statistics, noise)
    resident.prepare(mean, weight, weight, noise)
    with FlopCounterMode(display=False) as counter:
        features = network.inner(half, conditions)
        network.outer(full, features)
        if network.first is not None:
            network.first(weight, weight, start, conditions)
    gflop = counter.get_total_flops() / 1e9
    row = {
        "parameters": sum(p.numel() for n, p in network.named_parameters() if not n.startswith("trainer.")),
        "gflop": round(gflop, 2),
    }
    parts: dict[str, Callable[[], object]] = {
        "start": lambda: spectral_start(mean, weight, iterations=config.spectral_iterations),
        "planes": lambda: network_planes(weight, weight, start),
        "inner": lambda: network.inner(half, conditions),
        "outer": lambda: network.outer(full, features),
        "first": lambda: network.first and network.first(weight, weight, start, conditions),
        "frame": lambda: resident(mean, weight, weight, noise),
    }
    for part, call in parts.items():
        wall, processor = _milliseconds(call, device)
        row[f"{part}_ms"], row[f"{part}_processor_ms"] = round(wall, 2), round(processor, 2)
    frame_pct = 100 * gflop / row["frame_ms"] * 1e3 / peak_gflops
    row["frame_peak_pct"] = round(frame_pct, 1)
    times = "  ".join(f"{p} {row[p + '_ms']:.1f} ({row[p + '_processor_ms']:.1f})" for p in parts)
    print(f"{name:>6}: {row['parameters'] / 1e6:.2f} M parameters, {gflop:.1f} GFLOP  {times}")
    print(f"{name:>6}: {frame_pct:.0f} % of the peak, its FFTs not counted")
    return row


def _peak_gflops(device: torch.device, precision: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, size, size, device=device).to(precision)
    return 2 * size**3 / 1e6 / _milliseconds(lambda: a @ b, device)[0]


def _milliseconds(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    if device.type == "cuda":
        times = []
        for _ in range(10 * FRAMES):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            torch.cuda.synchronize()
            times.append(first.elapsed_time(last))
        return sorted(times)[len(times) // 2], 0.0
    walls, processors = [], []
    for _ in range(FRAMES):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        walls.append(1e3 * (time.perf_counter() - wall))
        processors.append(1e3 * (time.process_time() - processor))
    return min(walls), min(processors)
