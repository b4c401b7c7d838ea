"""Learning curves as CSV, as a plot that is redrawn while the run goes on, and as a bar on the terminal."""

from __future__ import annotations

import csv
from collections import deque
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scancontrol.files import read_csv, writing
from scancontrol.processes.progress import progress, say_beside

__all__ = ["Curves"]


class Curves:
    """Appends to ``curve.csv`` and ``validation.csv`` in a run's folder and redraws ``curve.png``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.recent: deque[float] = deque(maxlen=200)
        self.pending: list[dict[str, float]] = []
        self._bar: tqdm[Any] | None = None  # from the first step of a run to its end

    def add(self, row: dict[str, float], steps: int, quiet: bool) -> None:
        """One training step of ``steps`` in all. Rows reach the disk in groups of 20."""
        self.recent.append(row["rmse_pct"])
        self.pending.append(row)
        if self._bar is None:
            self._bar = progress(steps, "steps", done=int(row["step"]) - 1, quiet=quiet)
        self._bar.set_postfix_str(self._line(row), refresh=False)
        self._bar.update(int(row["step"]) - self._bar.n)
        if len(self.pending) == 20:
            self.flush()

    def forget_after(self, step: int) -> None:
        """Drop what a killed run wrote after the checkpoint that is now resumed."""
        for name in ("curve.csv", "validation.csv"):
            rows = _read(self.out / name)
            kept = [row for row in rows if row["step"] <= step]
            if len(kept) < len(rows):
                (self.out / name).unlink()
                _append(self.out / name, kept)

    def _line(self, row: dict[str, float]) -> str:
        """What the bar says beside the steps: the running mean error, and how busy the run is."""
        return (
            f"rmse {sum(self.recent) / len(self.recent):.2f} %  interval {row['interval_loss']:.3f}  "
            f"{row['samples_per_s']:.1f} samples/s  waiting {row['waiting_pct']:.0f} %"
        )

    def end(self) -> None:
        """The run ends: write and draw what is left, and leave its bar as it is."""
        self.flush()
        self.plot()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def flush(self) -> None:
        """Write what is pending."""
        _append(self.out / "curve.csv", self.pending)
        self.pending = []

    def add_validation(self, row: dict[str, float]) -> None:
        """One validation; redraws the plot."""
        self.flush()
        _append(self.out / "validation.csv", [row])
        self.plot()
        shown = "  ".join(f"{k} {v:.2f}" for k, v in row.items() if k not in ("step", "minutes"))
        say_beside(self._bar, f"validation at step {int(row['step'])}: {shown}")

    def plot(self) -> None:
        """Training error (running mean) and validation errors against minutes."""
        import matplotlib as mpl  # a second to import; only rank 0 pays it, and rarely

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        rows, checks = _read(self.out / "curve.csv"), _read(self.out / "validation.csv")
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        if rows:
            values = [row["rmse_pct"] for row in rows]
            width = max(1, len(values) // 40)
            smooth = [sum(values[max(0, i - width) : i + 1]) / (i + 1 - max(0, i - width)) for i in range(len(values))]
            axes.plot([row["minutes"] for row in rows], smooth, color="0.7", label="training crops, running mean")
        for name in [k for k in (checks[0] if checks else {}) if k.endswith("_pct")]:
            points = axes.plot([r["minutes"] for r in checks], [r[name] for r in checks], "o-", ms=3, label=name[:-4])
            axes.axhline(checks[0][name[:-4] + "_start"], color=points[0].get_color(), ls=":", lw=1)
        axes.set(xlabel="minutes of training", ylabel="rmse (%); dotted: the spectral start alone")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        with writing(self.out / "curve.png") as part:
            figure.savefig(part, dpi=110, format="png")
        plt.close(figure)


def _append(path: Path, rows: list[dict[str, float]]) -> None:
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if fresh:
            writer.writeheader()
        writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)


def _read(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    return [{k: float(v) for k, v in row.items()} for row in read_csv(path, "learning curve")]
