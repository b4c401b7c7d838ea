"""Detectors: from the electrons that arrive to the counts of the converter.

Arrivals are Poisson. The scintillator's light fades with a time constant, so that part of each sample's signal streaks
into the next ones: of an electron that arrives at any moment of a dwell T, ``1 − (τ/T)(1 − e^(−T/τ))`` of the light
falls into that dwell. Amplification spreads the pulses' heights; the converter adds noise, clips and rounds.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput, within
from simulators.numerics.recurrence import linger
from simulators.specimens.scattering import DETECTOR_KINDS

__all__ = ["Detector", "DetectorConfig"]


class DetectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel. ``counts = offset + gain · electrons``, with noise, clipped to ``adc_bits``.

    Faults of real detectors have their true constants here, any of them together: afterglow (``decay_us``), readings
    that come ``late_samples`` after the beam, a baseline that drifts from the start of each frame, the mains' hum,
    spikes, and runs of samples that are lost and come as zeros. Saturation is ``adc_bits`` too few.

    Raises:
        InvalidInput: a detector that cannot be.
    """

    name: str = "HAADF"
    kind: str = "HAADF"  # which electrons it collects: HAADF, ADF or BF
    counts_per_electron: float = 20.0
    offset_counts: float = 200.0
    read_noise_counts: float = 4.0
    pulse_spread: float = 0.0  # relative rms of the height of one electron's pulse
    decay_us: float = 0.0  # of the scintillator
    adc_bits: int = 16
    late_samples: int = 0
    drift_counts_per_ms: float = 0.0
    hum_counts: float = 0.0  # amplitude
    hum_hz: float = 50.0
    spike_share: float = 0.0  # of the samples
    spike_counts: float = 0.0  # added to them, or taken off, by turns of chance
    lost_share: float = 0.0
    lost_run: int = 40  # samples that are lost together
    condition: Literal["good", "dead", "saturated"] = "good"

    def __post_init__(self) -> None:
        if self.kind not in DETECTOR_KINDS:
            raise InvalidInput(
                "detectors.kind", self.kind, f"is not one of {', '.join(DETECTOR_KINDS)}", "name one of those"
            )
        for quantity, low, high in (
            ("counts_per_electron", 1e-6, 1e6),
            ("offset_counts", -1e6, 1e6),
            ("read_noise_counts", 0.0, 1e5),
            ("pulse_spread", 0.0, 5.0),
            ("decay_us", 0.0, 1e6),
            ("adc_bits", 1, 16),
            ("late_samples", 0, 10_000),
            ("drift_counts_per_ms", -1e6, 1e6),
            ("hum_counts", 0.0, 1e6),
            ("hum_hz", 1.0, 1e5),
            ("spike_share", 0.0, 0.5),
            ("spike_counts", 0.0, 1e6),
            ("lost_share", 0.0, 0.9),
            ("lost_run", 1, 1_000_000),
        ):
            within(f"detectors.{quantity}", getattr(self, quantity), low, high, "mend the configuration")

    def expected(self, electrons: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean counts for ``electrons`` that arrive, clipped as the converter clips."""
        top = (1 << self.adc_bits) - 1
        if self.condition != "good":
            return np.full_like(electrons, 0 if self.condition == "dead" else top)
        counts: NDArray[np.float32] = electrons * np.float32(self.counts_per_electron)
        return np.asarray(np.clip(counts + np.float32(self.offset_counts), 0, top), np.float32)

    def stated(self) -> DetectorChannel:
        """What the microscope says of it."""
        return DetectorChannel(
            name=self.name,
            counts_per_electron=self.counts_per_electron,
            offset_counts=self.offset_counts,
            read_noise_counts=self.read_noise_counts,
            adc_bits=self.adc_bits,
            decay_us=self.decay_us,
        )


class Detector:
    """A channel at work; its scintillator glows on from one block to the next."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self._rate = np.array([1 / config.decay_us]) if config.decay_us > 0 else np.zeros(0)
        self._glow = np.zeros((1, 1), np.float32)  # electrons whose light is still to come
        self._late = np.zeros(config.late_samples, np.float32)  # electrons whose readings are still to come
        self._frame_us = self._time_us = 0.0
        self._lost = 0  # samples that are still to be lost of the last run

    def dark(self) -> None:
        """Forget the afterglow and set the baseline right, as after a long time without beam."""
        self._glow = np.zeros((1, 1), np.float32)
        self._late = np.zeros(self.config.late_samples, np.float32)
        self._frame_us = 0.0

    def counts(
        self,
        expected: NDArray[np.float32],
        dwell_us: NDArray[np.float64],
        move_us: NDArray[np.float64] | None,
        generator: np.random.Generator,
    ) -> NDArray[np.uint16]:
        """Converter counts (n,) for ``expected`` electrons (n,) in each dwell; ``move_us`` is None without any move."""
        config = self.config
        top = (1 << config.adc_bits) - 1
        if config.condition != "good":
            return np.full(len(expected), 0 if config.condition == "dead" else top, np.uint16)
        signal = generator.poisson(expected).astype(np.float32)
        if config.pulse_spread > 0:
            spread = generator.standard_normal(len(signal), np.float32)
            spread *= np.float32(config.pulse_spread) * np.sqrt(signal)
            signal += spread
        if config.decay_us > 0:
            signal = self._streaked(signal, dwell_us, move_us)
        if config.late_samples > 0:
            queued = np.concatenate([self._late, signal])
            signal, self._late = queued[: len(signal)].copy(), queued[len(signal) :]
        signal *= np.float32(config.counts_per_electron)
        signal += np.float32(config.offset_counts + 0.5)  # truncation below then rounds
        if config.read_noise_counts > 0:
            noise = generator.standard_normal(len(signal), np.float32)
            noise *= np.float32(config.read_noise_counts)
            signal += noise
        if config.drift_counts_per_ms != 0 or config.hum_counts > 0:
            signal += self._baseline(dwell_us, move_us)
        if config.spike_share > 0:
            hit = np.flatnonzero(generator.random(len(signal)) < config.spike_share)
            signal[hit] += np.float32(config.spike_counts) * generator.choice([-1, 1], len(hit)).astype(np.float32)
        if config.lost_share > 0:
            signal[self._lost_now(len(signal), generator)] = 0
        return np.asarray(np.clip(signal, 0, top, out=signal).astype(np.uint16))

    def _baseline(self, dwell_us: NDArray[np.float64], move_us: NDArray[np.float64] | None) -> NDArray[np.float32]:
        config = self.config
        end_us = np.cumsum(dwell_us if move_us is None else dwell_us + move_us)
        baseline = 1e-3 * config.drift_counts_per_ms * (self._frame_us + end_us)
        baseline += config.hum_counts * np.sin(2e-6 * np.pi * config.hum_hz * (self._time_us + end_us))
        self._frame_us += float(end_us[-1])
        self._time_us += float(end_us[-1])
        return baseline.astype(np.float32)

    def _lost_now(self, count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
        """Which of the next samples are lost; a run may go on into the next block."""
        run, share = self.config.lost_run, self.config.lost_share
        starts = np.flatnonzero(generator.random(count) < share / (run * (1 - share)))
        lost = np.zeros(count, np.bool_)
        lost[: self._lost] = True
        for start in starts:
            lost[start : start + run] = True
        last = int(starts[-1]) + run if len(starts) else 0
        self._lost = max(0, self._lost - count, last - count)
        return lost

    def _streaked(
        self, electrons: NDArray[np.float32], dwell_us: NDArray[np.float64], move_us: NDArray[np.float64] | None
    ) -> NDArray[np.float32]:
        tau = self.config.decay_us
        even = bool(dwell_us[0] == dwell_us[-1] and (dwell_us == dwell_us[0]).all())
        dwell = dwell_us[:1] if even else dwell_us
        fading = -np.expm1(-dwell / tau)  # of what is left, during a dwell
        left = (tau / dwell * fading).astype(np.float32)  # of an electron's light, when its dwell ends
        later = np.empty((1, len(electrons)), np.float32)
        later[0, 0] = 0
        np.multiply(electrons[:-1], left if even else left[:-1], out=later[0, 1:])
        # light that falls between two dwells is lost to both
        seen, glow = linger(self._glow, later, fading if even else fading[None], self._rate, dwell, move_us)
        self._glow = glow + electrons[-1] * left[-1]
        own = electrons * (np.float32(1) - left)
        own += seen[0]
        return own
