"""How long frames take on the device, in batches and by size, and what they need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._capture import Capture
from benchmarks.gpu.agreement import readings, scan
from restore.engine import Engine
from restore.generator.generator import Generator
from restore.generator.presets import PRESETS
from restore.generator.resident import Resident
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import load_weights, shipped
from restore.under_way import UnderWay, Wanted

__all__ = ["frames", "launches", "networks", "together"]

_SECONDS_EACH = 2.0
_LEAST = 8


def launches() -> dict[str, Any]:
    """Kernels that a frame of 512² launches, told on the meta device."""
    found = {}
    for name, config in PRESETS.items():
        with torch.device("meta"):
            network = Generator(config).eval()
        frame = torch.empty(1, 1, 512, 512, device="meta")
        with torch.inference_mode():
            network(frame, frame, frame)
            with Capture() as capture:
                network(frame, frame, frame)
        found[name] = capture.launches
    return found


def networks(device: torch.device, sides: tuple[int, ...], batches: tuple[int, ...]) -> dict[str, Any]:
    """The resident networks by size and batch: p50 and p99 of a batch, frames a second, memory, share of the peak."""
    rows, failed = [], []
    for name in ("lite", "live"):
        network = Resident(load_weights(shipped(name), device).network, together=max(batches))
        for side in sides:
            for batch in batches:
                try:
                    rows.append({"weights": name, "side": side, "batch": batch, **_timed(network, side, batch, device)})
                except torch.OutOfMemoryError:
                    failed.append(f"{name} at {side}² × {batch} wants more memory than there is")
                    torch.cuda.empty_cache()
    for row in rows:
        print(
            f"{'':>9}  {row['weights']:>5} {row['side']:>5}² × {row['batch']:<2}  p50 {row['p50_ms']:8.2f} ms  "
            f"p99 {row['p99_ms']:8.2f}  {row['frames_per_s']:8.1f} frames/s  {row['memory_mib']:7.0f} MiB",
            flush=True,
        )
    return {"rows": rows, "failed": failed}


@torch.inference_mode()
def _timed(network: Resident, side: int, batch: int, device: torch.device) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    weight = (torch.rand(batch, 1, side, side, generator=generator) < 0.05).float()
    mean = torch.randn(batch, 1, side, side, generator=generator) * weight
    given = [x.to(device) for x in (mean, weight, 1 - weight)]
    noise = torch.full((batch,), torch.nan, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    network.prepare(*(x[:1] for x in (*given, noise)))
    network(*given, noise)
    times = _milliseconds(lambda: network(*given, noise), device)
    p50 = times[len(times) // 2]
    found = {
        "p50_ms": round(p50, 3),
        "p99_ms": round(times[min(len(times) - 1, int(0.99 * len(times)))], 3),
        "frames_per_s": round(1e3 * batch / p50, 2),
        "memory_mib": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0,
    }
    if isinstance(network.network, Generator):
        with FlopCounterMode(display=False) as counter:
            network.network(*given, noise)
        found["gflop"] = round(counter.get_total_flops() / 1e9, 2)
        found["peak_pct"] = round(100 * found["gflop"] / p50 * 1e3 / _peak_gflops(device), 2)
    return found


def frames(device: torch.device, sides: tuple[int, ...]) -> dict[str, Any]:
    """Whole frames in the resident engine, from samples on the processor to pictures on the processor."""
    rows = []
    for name in ("lite", "live"):
        for side in sides:
            path = scan(side)
            engine = Engine(GeneratorRestorer.load(shipped(name), device), device)
            began = time.perf_counter()
            engine.register(path)
            registered_ms = 1e3 * (time.perf_counter() - began)
            samples = readings(path)
            times = _milliseconds(lambda: engine.restore(samples, path.path_id), device)  # noqa: B023 - called at once
            p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(0.99 * len(times)))]
            row = {"weights": name, "side": side, "register_ms": registered_ms, "p50_ms": p50, "p99_ms": p99}
            rows.append({key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()})
    return {"rows": rows}


def together(device: torch.device, sides: tuple[int, ...], numbers: tuple[int, ...]) -> dict[str, Any]:
    """Whole frames of several streams at once, as the restorer's process has them under way: rates, and one's time.

    Each stream sends its next frame as soon as another batch may be got ready, so two batches are in hand where the
    device computes one and receives the other.
    """
    rows = []
    for name in ("lite", "live"):
        for side in sides:
            path = scan(side)
            restorer = GeneratorRestorer.load(shipped(name), device, together=max(numbers))
            engine = Engine(restorer, device)
            engine.register(path)
            samples = readings(path)
            for number in numbers:
                found = _under_way(engine, path.path_id, samples, number)
                row = {"weights": name, "side": side, "streams": number, "at_once": engine.together(path.path_id)}
                rows.append(row | {key: round(value, 2) for key, value in found.items()})
                print(
                    f"{'':>9}  {name:>5} {side:>5}² of {number:<2} streams  p50 {found['p50_ms']:8.2f} ms  "
                    f"{found['frames_per_s']:8.1f} frames/s",
                    flush=True,
                )
    return {"rows": rows}


def _under_way(engine: Engine, path_id: str, samples: Any, streams: int) -> dict[str, float]:
    frames: UnderWay[int] = UnderWay(engine)
    times: list[float] = []
    number, began = 0, time.perf_counter()
    while len(times) < _LEAST or time.perf_counter() - began < _SECONDS_EACH / 2:
        while len(frames) < streams * engine.feeder.under_way:
            frames.add(number, Wanted(samples, path_id, stream=str(number % streams)))
            number += 1
        for ended in frames.step():
            if isinstance(ended.found, Exception):
                raise ended.found
            times.append((time.monotonic_ns() - ended.began_ns) / 1e6)
    seconds, done = time.perf_counter() - began, len(times)
    return {"p50_ms": sorted(times)[done // 2], "frames_per_s": done / seconds}


def _milliseconds(call: Callable[[], object], device: torch.device) -> list[float]:
    """Sorted times of many calls, by the wall and with the device waited for."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _LEAST or (time.perf_counter() - began < _SECONDS_EACH and len(times) < 400):
        if device.type == "cuda":
            torch.cuda.synchronize()
        since = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - since))
        if device.type != "cuda" and time.perf_counter() - began > _SECONDS_EACH:
            break
    return sorted(times)


_peaks: dict[torch.device, float] = {}


def _peak_gflops(device: torch.device) -> float:
    """Of large matrices multiplied in the precision that the networks take here."""
    if device not in _peaks:
        size = 8192 if device.type == "cuda" else 1024
        kind = torch.bfloat16 if device.type == "cuda" else torch.float32
        a, b = torch.randn(2, size, size, device=device).to(kind)
        times = _milliseconds(lambda: a @ b, device)
        _peaks[device] = 2 * size**3 / 1e6 / times[len(times) // 2]
    return _peaks[device]
