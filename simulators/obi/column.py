"""The simulated microscope between the DACs and the ADC of an Open Beam Interface.

The same physics as :mod:`simulators.exposure`, met a few pixels at a time and without knowing the path: the coils
follow the codes, the beam exposes the specimen for the whole dwell, and the converter averages the detector's signal
over the dwell's first power of two of cycles. A beam that waits unblanked burns where it stands.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.microscope.obi.commands import CODES, CYCLE_US, averaged_cycles
from simulators.column.beam import Beam
from simulators.column.coils import Coils
from simulators.column.damage import Damage, DoseMap
from simulators.column.detectors import Detector
from simulators.config import SimulatorConfig
from simulators.obi.device import Pixels
from simulators.specimens.scattering import detected_fraction
from simulators.specimens.specimen import Specimen

__all__ = ["MicroscopeColumn"]

_ADC_BITS = 14
_DOSE_CELLS = 256
_DAMAGE_EVERY_US = 5000.0


class _AveragingDetector(Detector):
    """``counts_per_electron`` is per electron in one ADC cycle: the converter averages a voltage, it does not count."""

    def average(
        self, expected: NDArray[np.float32], cycles: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.uint16]:
        """Averaged ADC codes (n,) of ``expected`` electrons that arrive in ``cycles`` ADC cycles."""
        config = self.config
        top = (1 << _ADC_BITS) - 1
        if config.condition != "good":
            return np.full(len(expected), 0 if config.condition == "dead" else top, np.uint16)
        signal = generator.poisson(expected).astype(np.float32)
        if config.pulse_spread > 0:
            signal += config.pulse_spread * generator.standard_normal(len(signal), np.float32) * np.sqrt(signal)
        if config.decay_us > 0:
            dwell_us = np.asarray(cycles * CYCLE_US, np.float64)
            signal = self._streaked(signal, dwell_us, np.zeros(len(cycles)))
        code = config.offset_counts + config.counts_per_electron * signal / cycles
        if config.read_noise_counts > 0:
            code += config.read_noise_counts * generator.standard_normal(len(signal), np.float32) / np.sqrt(cycles)
        return np.asarray(np.clip(code, 0, top).astype(np.uint16))


class MicroscopeColumn:
    """Implements :class:`simulators.obi.device.Column` for the first detector of ``config``.

    ``field_nm`` is the width that the DACs' full range covers.

    Raises:
        InvalidInput: it cannot be.
    """

    def __init__(self, config: SimulatorConfig, field_nm: float = 20.0) -> None:
        if not 0 < field_nm < 1e7:
            raise InvalidInput("field-nm", field_nm, "is outside 0 to 1e7", "give the width of the full field")
        self.config = config
        self.field_nm = field_nm
        detector = config.detectors[0]
        self._kind = detector.kind
        self._detector = _AveragingDetector(msgspec.structs.replace(detector, adc_bits=_ADC_BITS))
        disorder = config.damage.disorder_nm if config.damage is not None else 0.0
        self._specimen = Specimen(config.specimen, config.probe, (self._kind,), disorder)
        self._field = self._specimen.field(field_nm, field_nm, 0)
        self.dose = DoseMap(self._field.extent_nm, field_nm / _DOSE_CELLS)
        self._damage = Damage(config.damage, self.dose, config.seed) if config.damage is not None else None
        self._damaged_at_us = 0.0
        self._beam = Beam(config.beam)
        self._coils = Coils(config.coils)
        self._coils.settle_on(np.zeros(2))
        self._last = np.zeros((1, 2))
        self._generator = np.random.Generator(np.random.SFC64(config.seed))
        self.clock_us = 0.0
        self.electrons = 0.0  # that reached the specimen since the beginning

    def expose(self, pixels: Pixels) -> NDArray[np.uint16]:
        """The averaged 14-bit code of every pixel; its whole dwell counts as dose."""
        first = averaged_cycles(pixels.cycles)
        rest = pixels.cycles - first
        whole = bool(np.all(rest == 0))
        # a dwell that is no power of two is two exposures in a row, of which the second is not measured
        cycles = first if whole else np.stack([first, rest], axis=1)[has := _parts(rest)]
        index = np.arange(len(first)) if whole else np.nonzero(has)[0]
        codes = np.stack([pixels.y, pixels.x], axis=1)[index] / CODES
        expected = self._hit(codes, np.asarray(cycles * CYCLE_US, np.float64), pixels.lit[index])
        values = self._detector.average(expected, cycles, self._generator)
        return values if whole else values[np.concatenate([[True], index[1:] != index[:-1]])]

    def wait(self, duration_us: float, *, lit: bool) -> None:
        """The beam stays where it is for ``duration_us``; burning, if ``lit``."""
        if duration_us > 0:
            self._hit(self._last, np.array([duration_us]), np.array([lit]))
            self._detector.dark()

    def _hit(
        self, positions: NDArray[np.float64], dwell_us: NDArray[np.float64], lit: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Electrons that the detector gets from each exposure; the specimen gets its dose."""
        still = np.zeros(len(dwell_us))
        achieved = self._coils.follow(positions, dwell_us, still, self.clock_us, self._generator)
        end_us = self.clock_us + np.cumsum(dwell_us)
        y, x = ((achieved - 0.5) * self.field_nm).T.astype(np.float32)
        if not self.config.motion.still:
            moved_y, moved_x = self.config.motion.displacement_nm(end_us)
            y, x = y - moved_y, x - moved_x
        layers = self._field.lookup(y, x)
        cells = self.dose.cells(y, x)
        if self._damage is not None:
            layers = self._damage.act(layers, cells)
        incident, _ = self._beam.electrons(dwell_us, still, self.clock_us, self._generator)
        incident = np.where(lit, incident, np.float32(0))
        self.dose.add(cells, incident)
        self.electrons += float(incident.sum(dtype=np.float64))
        self.clock_us = float(end_us[-1])
        self._last = positions[-1:]
        if self._damage is not None and self.clock_us - self._damaged_at_us > _DAMAGE_EVERY_US:
            self._damage.advance(self.clock_us - self._damaged_at_us)
            self._damaged_at_us = self.clock_us
        low = layers[1] if self._specimen.low else None
        expected = detected_fraction(self._kind, layers[0], low)
        return np.asarray(expected * incident, np.float32)


def _parts(rest: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the two exposures of each pixel take any time."""
    return np.stack([np.ones(len(rest), np.bool_), rest > 0], axis=1)
