"""Everything that only a GPU can show, in under four minutes, on a machine with nothing but this checkout and PyTorch.

Each check is made by itself: one that fails is named, with the last line of what it said, and the others go on. Without
a GPU the same checks run on the processor, on small frames, so that the script is known to run.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection
from typing import Any

import torch

from benchmarks.gpu import agreement, speed, whole

__all__ = ["run"]

_SECONDS = 225.0


def run(only: Collection[str] = (), seconds: float = _SECONDS) -> dict[str, Any]:
    """Return what each check found, by its name; those for which no time was left say so.

    Args:
        only: names of checks; all if there are none.
        seconds: after which no further check begins.
    """
    card = torch.cuda.is_available()
    device = torch.device("cuda" if card else "cpu")
    sides, batches = ((512, 1024, 2048, 4096), (1, 4, 16)) if card else ((128,), (1, 2))
    checks: dict[str, Callable[[], Any]] = {
        "fills": lambda: agreement.fills(device),
        "networks": lambda: agreement.networks(device),
        "sizes": lambda: agreement.sizes(device, (512, 384, 640, 768, 1024) if card else (64, 48, 80, 96, 128)),
        "engine": lambda: agreement.engine(device, 512 if card else 128),
        "at once": lambda: agreement.at_once(device, 512 if card else 64),
        "launches": speed.launches,
        "speed": lambda: speed.networks(device, sides, batches),
        "frames": lambda: speed.frames(device, sides[:2]),
        "together": lambda: speed.together(device, sides[:2], batches),
        "training": lambda: whole.training(device, 1.0 if card else 0.03),
        "demo": lambda: whole.demo(device, 24 if card else 1),
    }
    began, failed = time.monotonic(), []
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if card else "cpu", "torch": torch.__version__}
    for name, check in checks.items():
        if only and name not in only:
            continue
        left = seconds - (time.monotonic() - began)
        if left <= 0:
            found[name] = {"not run": "no time was left"}
            failed.append(f"{name}: no time was left")
            continue
        since = time.monotonic()
        try:
            figures = check()
            wrong = figures.pop("failed", [])
        except Exception as error:
            figures, wrong = {"error": traceback.format_exc(limit=-3)}, [f"{type(error).__name__}: {error}"]
        found[name] = {**figures, "seconds": round(time.monotonic() - since, 1), "failed": wrong}
        failed += [f"{name}: {text}" for text in wrong]
        print(f"{name:>9}  {'ok' if not wrong else 'FAILED'}  {time.monotonic() - since:5.1f} s", flush=True)
        for text in wrong:
            print(f"{'':>9}  {text.splitlines()[0][:200]}", flush=True)
    print(f"{len(found) - 2} checks, {len(failed)} failures, {time.monotonic() - began:.0f} s")
    found["failed"] = failed
    return found
