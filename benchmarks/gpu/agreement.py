"""Whether the device says what the processor says, frame by frame, within stated tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from restore.engine import Engine
from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from restore.generator.resident import Resident
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import load_weights, shipped
from restore.gridding import FrameGeometry
from restore.restorer import Restorer
from restore.under_way import UnderWay, Wanted
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, ScanPath, expand

__all__ = ["WEIGHTS", "at_once", "engine", "fills", "networks", "scan", "sizes"]

WEIGHTS = ("lite", "live", "lite-realistic")
_SIDE = 128
_SLOW = ("kriging", "total_variation")  # compared on a smaller frame
_FILL_TOLERANCE = 2e-3  # of the range: iterations end where sums in another order let them
_SINGLE_TOLERANCE = 5e-3
_BFLOAT16_TOLERANCE = 2e-2
_RECORDED_TOLERANCE = 1e-2  # of the normalised frame


def scan(side: int, spiral: bool = True, coverage: float = 0.05) -> ScanPath:
    """A path over a frame of ``side`` by ``side`` pixels."""
    goal = CoverageGoal(value=coverage)
    pattern = Archimedean(coverage=goal) if spiral else JitteredGrid(coverage=goal, seed=1)
    return expand(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=float(side), dwell_us=1.0))


def readings(path: ScanPath) -> np.ndarray:
    """Of a lattice on a slope, with noise."""
    y, x = path.positions.T
    truth = np.cos(40 * x) * np.cos(40 * y) + x
    return (truth + 0.05 * np.random.default_rng(1).standard_normal(path.count)).astype(np.float32)


def _apart(restorers: list[Restorer], devices: list[torch.device], path: ScanPath) -> tuple[float, float]:
    """Largest differences of estimate and interval, relative to the estimate's range."""
    found = []
    for restorer, device in zip(restorers, devices, strict=True):
        one = Engine(restorer, device)
        one.register(path)
        found.append(one.restore(readings(path), path.path_id))
    mine, theirs = found
    extent = float(mine.estimate.max() - mine.estimate.min())
    widths = [0.0 if one.interval is None else one.interval for one in found]
    return (
        float((mine.estimate - theirs.estimate).abs().max()) / extent,
        float(torch.as_tensor(widths[0] - widths[1]).abs().max()) / extent,
    )


def fills(device: torch.device) -> dict[str, Any]:
    """Every classical fill, on a spiral and a jittered grid."""
    apart, failed = {}, []
    for name in FILLS:
        for spiral in (True, False):
            path = scan(64 if name in _SLOW else _SIDE, spiral)
            differ = max(_apart([FillRestorer(name), FillRestorer(name)], [torch.device("cpu"), device], path))
            key = f"{name}, {'spiral' if spiral else 'jittered grid'}"
            apart[key] = differ
            if differ > _FILL_TOLERANCE:
                failed.append(f"{key} is {differ:.2g} of the range off the processor's; tolerance {_FILL_TOLERANCE:g}")
    return {"tolerance": _FILL_TOLERANCE, "largest_difference": apart, "failed": failed}


def networks(device: torch.device) -> dict[str, Any]:
    """Every face that ships, in single precision and in bfloat16, against the processor in single precision."""
    apart, failed = {}, []
    path = scan(_SIDE)
    for name in WEIGHTS:
        for precision, tolerance in (("single", _SINGLE_TOLERANCE), ("bfloat16", _BFLOAT16_TOLERANCE)):
            here = GeneratorRestorer.load(shipped(name), "cpu", precision="single")
            there = GeneratorRestorer.load(shipped(name), device, precision=precision)  # type: ignore[arg-type]
            differ = _apart([here, there], [torch.device("cpu"), device], path)[0]
            apart[f"{name}, {precision}"] = differ
            if differ > tolerance:
                failed.append(f"{name} in {precision} is {differ:.2g} of the range off; tolerance {tolerance:g}")
    return {"largest_difference": apart, "failed": failed}


def sizes(device: torch.device, sides: tuple[int, ...]) -> dict[str, Any]:
    """Recorded networks at more sizes than stay recorded, there and back, against the same network unrecorded."""
    apart: dict[str, float] = {}
    for name in ("lite", "lite-realistic"):
        plain = Resident(load_weights(shipped(name), device).network, "single", recorded=False)
        recorded = Resident(load_weights(shipped(name), device).network, "single", recorded=True)
        for side in (*sides, *reversed(sides)):
            geometry = FrameGeometry.from_path(scan(side), device)
            mean, weight = geometry.grid(torch.from_numpy(readings(scan(side))).to(device))
            given = [x[None, None] for x in (mean, weight, geometry.distance)]
            noise = torch.full((1,), torch.nan, device=device)
            with torch.inference_mode():
                recorded.prepare(*given, noise)
                expected = plain(*given, noise).frame.clone()
                differ = float((recorded(*given, noise).frame - expected).abs().max())
            apart[f"{name}, {side}"] = max(differ, apart.get(f"{name}, {side}", 0.0))
    failed = [f"{key} differs by {value:.2g}" for key, value in apart.items() if value > _RECORDED_TOLERANCE]
    return {"largest_difference": apart, "failed": failed}


def engine(device: torch.device, side: int) -> dict[str, Any]:
    """A stream with memory on the device: each frame is finite, and another stream's do not move it."""
    path = scan(side)
    one = Engine(GeneratorRestorer.load(shipped("lite"), device), device, memory=4)
    one.register(path)
    pictures = [one.restore(readings(path), path.path_id, stream="a", frame=frame).estimate for frame in range(3)]
    failed = [f"frame {number} is not finite" for number, one in enumerate(pictures) if not bool(one.isfinite().all())]
    return {"frames": len(pictures), "failed": failed}


def at_once(device: torch.device, side: int) -> dict[str, Any]:
    """Frames of several streams under way together, in batches of 4 and 2, against each by itself on the device."""
    path = scan(side)
    one = Engine(GeneratorRestorer.load(shipped("lite"), device, together=4), device)
    one.register(path)
    frames: UnderWay[int] = UnderWay(one)
    given = [readings(path) + np.float32(0.2 * number) * path.positions[:, 0].astype(np.float32) for number in range(6)]
    for number, samples in enumerate(given):
        frames.add(number, Wanted(samples, path.path_id, stream=str(number)))
    ended = []
    while len(frames):
        ended += frames.step()
    apart, failed = {}, []
    for found in ended:
        if isinstance(found.found, Exception):
            failed.append(f"frame {found.key} failed: {found.found}")
            continue
        alone = one.restore(given[found.key], path.path_id).estimate
        differ = float((found.found.estimate - alone).abs().max() / (alone.max() - alone.min()))
        apart[str(found.key)] = differ
        if not differ <= _BFLOAT16_TOLERANCE:
            failed.append(f"frame {found.key} is {differ:.2g} of the range off the one alone")
    if [found.key for found in ended] != list(range(6)):
        failed.append(f"frames came as {[found.key for found in ended]}")
    return {"largest_difference": apart, "failed": failed}
