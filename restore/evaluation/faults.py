"""What faults of the readings do to a picture, with the model of the readings off and on: the table of ``--faults``.

Each fault has a true constant and is applied to the readings of every frame. With the model off every reading is
believed as it is. With it on, outliers and lost readings are found from the frame, as is what wanders; a delay is found
from the frame, or from eight where each has a path of its own, and corrected as offline; the afterglow's constant and
the gain of counted electrons are stated, as a calibrated microscope does, but where the row says that they are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from restore.engine import Engine
from restore.estimate.disagreement import Delay
from restore.estimate.late_frames import delay_of, delay_over, knowing, placed
from restore.evaluation.run import scan_path
from restore.evaluation.scoring import score_image
from restore.evaluation.subjects import Subject
from restore.gridding import FrameGeometry
from restore.restorer import Restoration, Restorer
from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.paths import ScanPath

__all__ = ["FAULTS", "Fault", "Spoiled", "evaluate_faults", "format_faults", "restore_spoiled"]

Values = NDArray[np.float64]

_MAINS_HZ = 50.0
_COUNTS = 1000.0  # that the truth's range is read as
_WORDS = ("outliers", "lost", "mains", "baseline", "gain", "saturated")  # of notices, the plainest first
_FRAMES = 8  # of paths that change from frame to frame
_STEP = 1 / 64  # counts, of the converter: sums of equal readings are equal
_NEAR = 1.3  # between a frame's expected error and its true one


@dataclass(frozen=True)
class Fault:
    """A fault of the readings (n,), whose sizes are shares of the truth's range.

    Attributes:
        name: with its constant.
        spoil: from readings, their path and a generator, with a range of 1, to what is handed over.
        detector: what is stated of it when the model is on; a range of 1 is ``_COUNTS`` counts.
    """

    name: str
    spoil: Callable[[Values, ScanPath, np.random.Generator], Values]
    detector: DetectorChannel | None = None


def _afterglow(decay_us: float, stated: bool = True) -> Fault:
    def spoil(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
        return Afterglow(decay_us, path.dwell_us, path.move_us).read(values)

    detector = DetectorChannel(name="HAADF", decay_us=decay_us) if stated else None
    return Fault(f"afterglow, τ = {decay_us:g} samples{'' if stated else ', not stated'}", spoil, detector)


def _late(samples: int) -> Fault:
    def spoil(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
        return values[np.maximum(np.arange(len(values)) - samples, 0)]

    return Fault(f"readings {samples} samples late", spoil)


def _amplifier(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
    return uniform_filter1d(values, 4, origin=1, mode="nearest")


def _drift(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
    return values + np.linspace(0, 0.3, len(values))


def _mains(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
    time_us = np.cumsum(path.dwell_us + path.move_us)
    return values + 0.05 * np.sin(2e-6 * np.pi * _MAINS_HZ * time_us)


def _spikes(share: float, both: bool) -> Fault:
    def spoil(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
        hit = random.random(len(values)) < share
        sign = np.where(random.random(len(values)) < 0.5, -1, 1) if both else 1
        return np.where(hit, 10 * sign * random.uniform(0.9, 1.1, len(values)), values)

    return Fault(f"{100 * share:g} % spikes of ten times the range{', both signs' if both else ''}", spoil)


def _stretches(value: float | None) -> Fault:
    def spoil(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
        found = values.copy()
        while (lost := _changed(found, values)) < 0.3 * len(values):
            start = int(random.integers(len(values) - 40))
            found[start : start + 40] = found[start] if value is None else value
            if lost > 0.29 * len(values) and value == 0:
                break  # where the specimen itself is 0, it does not show
        return found

    names = {None: "a converter that sticks for 40 samples, 30 % in all", 0.0: "30 % lost, as zeros, 40 in a row"}
    return Fault(names.get(value, "30 % lost, as NaN, 40 in a row"), spoil)


def _changed(found: Values, values: Values) -> int:
    return int((~(found == values)).sum())


def _strewn(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
    return np.where(random.random(len(values)) < 0.3, 0.0, values)


def _charging(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
    away = path.positions - path.positions[int(np.argmax(values))]
    return values + np.exp(-(away**2).sum(1) / (2 * 0.15**2))


def _electrons(count: float, stated: bool = True) -> Fault:
    def spoil(values: Values, path: ScanPath, random: np.random.Generator) -> Values:
        return random.poisson(np.clip(values, 0, None) * count) / count

    detector = DetectorChannel(name="HAADF", counts_per_electron=_COUNTS / count) if stated else None
    return Fault(f"{count:g} electrons a sample{'' if stated else ', gain not stated'}", spoil, detector)


FAULTS: tuple[Fault, ...] = (
    Fault("none", lambda values, path, random: values),
    *(_afterglow(decay_us) for decay_us in (1.0, 3.0, 10.0)),
    _afterglow(3.0, stated=False),
    Fault("amplifier: moving average of 4", _amplifier),
    *(_late(samples) for samples in (1, 3, 10)),
    Fault("baseline drifts by 30 % over the frame", _drift),
    Fault("mains, 5 %, 50 Hz at 1 µs", _mains),
    _spikes(0.001, False),
    _spikes(0.01, True),
    _spikes(0.05, True),
    _stretches(0.0),
    _stretches(np.nan),
    _stretches(None),
    Fault("30 % lost, strewn zeros", _strewn),
    Fault("charging halo of the whole range", _charging),
    *(_electrons(count) for count in (10.0, 3.0, 1.0, 0.3, 0.1)),
    _electrons(3.0, stated=False),
)
"""In the order of the table; dwells are 1 µs."""


def evaluate_faults(
    sets: Mapping[str, Sequence[Subject]],
    restorers: Sequence[Restorer],
    patterns: Sequence[str],
    coverage: float,
    device: torch.device,
    faults: Sequence[Fault] = FAULTS,
) -> Iterator[dict[str, Any]]:
    """A row for each pattern, restorer, set and fault: errors and intervals with the model of the readings off and on.

    Rows hold ``pattern``, ``method``, ``set``, ``fault``, ``told`` (how often each cause was, in words) and, beginning
    with ``off_`` and ``on_``: ``rmse_pct`` of the truth as it is and ``rmse_lowpass_pct`` of the truth low-passed,
    ``interval_pct`` that holds the truth, ``expected_ratio`` of the frame's own expected error to the true one,
    ``noticed_pct`` of frames that say something, and ``honest_pct`` of those that do or whose expected error is within
    a factor of 1.3 of the true one.
    """
    for pattern in patterns:
        for restorer in restorers:
            engines = (Engine(restorer, device, model=False), Engine(restorer, device))
            for name, subjects in sets.items():
                for fault in faults:
                    row: dict[str, Any] = {
                        "pattern": pattern,
                        "method": restorer.name,
                        "set": name,
                        "fault": fault.name,
                    }
                    for engine in engines:
                        pictures = [restore_spoiled(engine, pattern, coverage, each, fault) for each in subjects]
                        found = [_measured(*each) for each in zip(pictures, subjects, strict=True)]
                        causes = Counter(each.cause or "nothing" for each in pictures)
                        row["told"] = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
                        mean = {key: float(np.nanmean([one[key] for one in found])) for key in found[0]}
                        row |= {f"{'on' if engine.model else 'off'}_{key}": value for key, value in mean.items()}
                    yield row


@dataclass(frozen=True, eq=False)
class Spoiled:
    """A frame that was read with a fault, and what became of it; values are in counts.

    Attributes:
        samples: as they were handed over, (n,), along ``geometry``.
        truth: (rows, cols).
        found: the restoration.
        delay: as it was found and corrected; None if none was, or the model is off.
    """

    samples: Values
    geometry: FrameGeometry
    truth: Values
    found: Restoration
    delay: Delay | None

    @property
    def told(self) -> tuple[str, ...]:
        """What the operator is told, a sentence each."""
        return (*([] if self.delay is None else [f"{self.delay.late}: corrected"]), *self.found.made_by.notices)

    @property
    def cause(self) -> str:
        """What the operator is told that these readings suffer from, in a word; empty where it is nothing."""
        if self.delay is not None:
            return "afterglow" if self.delay.decay_samples else "delay"
        made_by, told = self.found.made_by, " ".join(self.told)
        return made_by.cause or next((word for word in _WORDS if word in told), "")


def restore_spoiled(engine: Engine, pattern: str, coverage: float, subject: Subject, fault: Fault) -> Spoiled:
    """Scan a subject with a fault and restore it, as offline: one frame, of which others tell a delay at most."""
    frames = range(_FRAMES if pattern == "turned_spirals" else 1)
    paths = [scan_path(pattern, coverage, subject.pixels.shape, frame) for frame in frames]
    low, high = np.percentile(subject.pixels, (0.1, 99.9))

    def read(frame: int, geometry: FrameGeometry) -> Values:
        values = (subject.read(geometry.index.cpu().numpy()).astype(np.float64) - low) / (high - low)
        spoiled = fault.spoil(values, paths[frame], np.random.default_rng((len(values), frame)))
        return np.rint(_COUNTS * spoiled / _STEP) * _STEP

    path = paths[0]
    geometry = engine.register(path, None, fault.detector if engine.model else None).geometry
    samples, delay = read(0, geometry), None
    if not engine.model:
        samples = np.nan_to_num(samples)
    else:
        if len(paths) == 1:
            delay = delay_of(path, None, [samples], fault.detector)
        else:
            delay = delay_over(paths, None, [read(k, placed(each)) for k, each in enumerate(paths)], fault.detector)
    if delay is not None:
        stated = fault.detector or DetectorChannel(name="HAADF")
        engine.register(path, *knowing(delay, CoilModel(), stated, float(path.dwell_us.mean())))
    truth = _COUNTS * (subject.pixels.astype(np.float64) - low) / (high - low)
    return Spoiled(samples, geometry, truth, engine.restore(samples, path.path_id), delay)


def _measured(spoiled: Spoiled, subject: Subject) -> dict[str, float]:
    distance = spoiled.geometry.distance.cpu().numpy()
    score = score_image(subject.name, subject.modality, spoiled.truth, distance, spoiled.found, 0.0)
    expected = np.nan if score.expected_rmse is None else score.expected_rmse / max(score.rmse, 1e-12)
    held = np.nan if score.interval_coverage is None else 100 * score.interval_coverage
    noticed = bool(spoiled.told)
    return {
        "rmse_pct": 100 * score.rmse,
        "rmse_lowpass_pct": 100 * score.rmse_lowpass,
        "interval_pct": held,
        "expected_ratio": expected,
        "noticed_pct": 100.0 * noticed,
        "honest_pct": 100.0 * (noticed or 1 / _NEAR <= expected <= _NEAR),
    }


def format_faults(rows: Sequence[dict[str, Any]]) -> str:
    """A table for each pattern, method and set: error in per cent of the range, with the interval's share of truth."""
    out: list[str] = []
    for key in dict.fromkeys((row["pattern"], row["method"], row["set"]) for row in rows):
        group = [row for row in rows if (row["pattern"], row["method"], row["set"]) == key]
        clean = group[0]["on_rmse_lowpass_pct"]
        out.append(f"\n### {', '.join(key)}\n")
        out.append("| fault of the readings | off | on | of clean | expected / true | noticed | or within 1.3 | told |")
        out.append("|---|---|---|---|---|---|---|---|")
        for row in group:
            off, on = (f"{row[f'{m}_rmse_lowpass_pct']:.1f} ({row[f'{m}_interval_pct']:.0f})" for m in ("off", "on"))
            share = row["on_rmse_lowpass_pct"] / clean
            told = f"{row['on_expected_ratio']:.2f} | {row['on_noticed_pct']:.0f} % | {row['on_honest_pct']:.0f} %"
            told += f" | {row['told']}"
            out.append(f"| {row['fault']} | {off} | {on} | {share:.2f} | {told} |")
    return "\n".join(out) + "\n"
