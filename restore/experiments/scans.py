"""The poster's example scans: truth, scan and restoration, with circles where the restoration knows nothing.

The author draws his circles by hand. Here they stand where the interval, averaged over the neighbourhood, is widest:
what the restorer itself says it cannot know. The restorations are those of the weights that ship, as the author's
networks state no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from restore.engine import Engine
from restore.evaluation.metrics import rmse, scale_to_truth
from restore.evaluation.subjects import Subject
from restore.loading import load_restorer, pick_device
from restore.training.authors_paths import authors_scan
from scancontrol.errors import InvalidInput

__all__ = ["draw_scans", "least_known"]

_KINDS = {"ede_grid": "jittered grid", "ede_spiral": "blurred spiral"}
_ONE_IN = (10, 20, 40, 100)
_CIRCLES = 3
_EXPECTED_RATIO = 1.5  # an interval so much wider than the frame's median is worth a circle


def least_known(interval: NDArray[np.floating], radius_px: float, count: int = _CIRCLES) -> list[tuple[int, int]]:
    """Centres (row, column) of at most ``count`` circles, apart, where the interval is widest over such a circle.

    A place is only named if its interval is half as wide again as the frame's median: where all is known alike,
    nothing is.
    """
    local = gaussian_filter(np.asarray(interval, dtype=np.float64), radius_px / 2, mode="nearest")
    least = _EXPECTED_RATIO * float(np.median(local))
    rows, columns = np.indices(local.shape)
    found: list[tuple[int, int]] = []
    while len(found) < count:
        row, column = np.unravel_index(int(np.argmax(local)), local.shape)
        if local[row, column] <= least:
            break
        found.append((int(row), int(column)))
        local[np.hypot(rows - row, columns - column) < 2.5 * radius_px] = 0
    return found


def draw_scans(out: Path, subjects: Sequence[Subject], size: int = 512) -> list[Path]:
    """One figure for each of the author's kinds of path: rows are coverages, with the interval beside the picture.

    Args:
        subjects: one for each coverage from 1/10 to 1/100, in turn; ``size`` pixels a side of each are scanned.
    """
    made = []
    for kind, title in _KINDS.items():
        path = out / f"poster-scans-{kind.removeprefix('ede_')}.png"
        _draw(path, kind, title, subjects, size)
        made.append(path)
    return made


def _draw(path: Path, kind: str, title: str, subjects: Sequence[Subject], size: int) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    device = pick_device("cpu")
    engine = Engine(load_restorer("generator", None, device), device)
    figure = Figure(figsize=(8.4, 2.2 * len(_ONE_IN)), layout="constrained")
    axes = figure.subplots(len(_ONE_IN), 4)
    for row, one_in in enumerate(_ONE_IN):
        subject = subjects[row % len(subjects)]
        side = min(size, *subject.pixels.shape) // 32 * 32
        truth = np.ascontiguousarray(subject.pixels[:side, :side])
        scan_path = authors_scan(kind, side, 1 / one_in)
        pixel = np.minimum(np.floor(scan_path.positions * side).astype(np.int64), side - 1)
        engine.register(scan_path)
        readings = replace(subject, pixels=truth).read(pixel[:, 0] * side + pixel[:, 1])
        found = engine.restore(readings, scan_path.path_id)
        if found.interval is None:
            raise InvalidInput("method", found.made_by.method, "states no interval", "install the generator's weights")
        scaled, estimate = scale_to_truth(truth, found.estimate.numpy())
        touched = len(np.unique(pixel, axis=0))
        scan = np.zeros((side, side))
        low, high = np.percentile(truth, (0.1, 99.9))
        scan[pixel[:, 0], pixel[:, 1]] = (readings - low) / (high - low)
        interval = found.interval.double().numpy() / (high - low)
        error = 100 * rmse(estimate, scaled)
        pictures = (
            (subject.name, scaled, "gray", 1.0),
            (f"{title} 1/{one_in}: 1/{side**2 / touched:.1f} touched", scan, "gray", 1.0),
            (f"restored, {error:.1f} %", estimate, "gray", 1.0),
            ("90 % interval", interval, "magma", float(np.percentile(interval, 99.5))),
        )
        radius = max(20.0, 3.0 * float(np.sqrt(one_in)))
        circles = least_known(interval, radius)
        for column, (name, picture, colours, top) in enumerate(pictures):
            panel = axes[row, column]
            panel.imshow(picture, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
            panel.set_title(name, fontsize=8)
            panel.set_axis_off()
            if column != 1:
                for y, x in circles:
                    panel.add_patch(Circle((x, y), radius, fill=False, color="tab:cyan", linewidth=1.4))
    figure.savefig(path, dpi=60)
