"""What a restored frame costs: parameters, operations, and milliseconds of each part of the generator.

``engine`` is the whole of it as the restorer does it: the weights that ship, samples of a spiral at 1/20 in; estimate,
interval and measured error out.

On a processor the figures are the shortest of many wall times, and the processor time beside them, which other work on
the machine lengthens less. On a GPU they are the median of many frames, by events.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from restore.engine import Engine, trial_samples
from restore.generator import PRESETS, Generator
from restore.generator_restorer import GeneratorRestorer
from restore.memory import keep_freed_memory
from restore.planes import network_planes
from restore.spectral import spectral_start
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe

SIDE, FRAMES, COVERAGE = 512, 24, 0.05


@torch.inference_mode()
def run() -> dict[str, Any]:
    """Return figures by preset."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures: dict[str, Any] = {"device": str(device), "threads": torch.get_num_threads()}
    keep_freed_memory()  # as the restorer does
    engine = Engine(GeneratorRestorer.load(device=device), device)
    recipe = PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=COVERAGE)), shape=(SIDE, SIDE), fov_nm=float(SIDE), dwell_us=1.0
    )
    path = engine.register(recipe.expand()).path
    samples = trial_samples(engine.path(path.path_id).geometry).cpu().numpy()
    wall, processor = _milliseconds(lambda: engine.restore(samples, path.path_id), device)
    figures["engine"] = {"ms": round(wall, 2), "processor_ms": round(processor, 2)}
    print(f"{engine.restorer.name} in the resident engine, spiral 1/20: {wall:.1f} ({processor:.1f})")
    torch.manual_seed(0)
    weight = (torch.rand(1, 1, SIDE, SIDE) < COVERAGE).float().to(device)
    mean = torch.randn(1, 1, SIDE, SIDE).to(device) * weight
    print(f"{SIDE}² at {COVERAGE:.0%}, {device}, {torch.get_num_threads()} threads; wall (processor) ms")
    for name, config in PRESETS.items():
        network = Generator(config).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with FlopCounterMode(display=False) as counter:
            network(mean, weight, weight)
        row: dict[str, Any] = {
            "parameters": sum(p.numel() for n, p in network.named_parameters() if not n.startswith("trainer.")),
            "gflop": round(counter.get_total_flops() / 1e9, 2),
        }
        start = spectral_start(mean, weight, iterations=config.spectral_iterations)
        half, full, _ = network_planes(mean, weight, weight, start)
        features = network.inner(half, start.statistics)
        parts: dict[str, Callable[[], object]] = {
            "start": lambda c=config: spectral_start(mean, weight, iterations=c.spectral_iterations),
            "planes": lambda s=start: network_planes(mean, weight, weight, s),
            "inner": lambda n=network, h=half, s=start: n.inner(h, s.statistics),
            "outer": lambda n=network, f=full, x=features: n.outer(f, x),
            "frame": lambda n=network: n(mean, weight, weight),
        }
        for part, call in parts.items():
            wall, processor = _milliseconds(call, device)
            row[f"{part}_ms"], row[f"{part}_processor_ms"] = round(wall, 2), round(processor, 2)
        figures[name] = row
        times = "  ".join(f"{p} {row[p + '_ms']:.1f} ({row[p + '_processor_ms']:.1f})" for p in parts)
        print(f"{name:>6}: {row['parameters'] / 1e6:.2f} M parameters, {row['gflop']} GFLOP  {times}")
    return figures


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
