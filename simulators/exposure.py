"""The physics of one run of samples: path in, counts out.

Work is done in blocks of :data:`BLOCK` samples whose boundaries are fixed in the path and whose random numbers are
seeded by the block. So the same configuration gives the same bits, whatever sizes the samples are asked for in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths import ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US
from simulators.column.beam import Beam
from simulators.column.coils import Coils
from simulators.column.damage import Damage, DoseMap
from simulators.column.detectors import Detector
from simulators.config import SimulatorConfig
from simulators.specimens.scattering import detected_fraction
from simulators.specimens.specimen import Specimen

__all__ = ["BLOCK", "Exposed", "Exposure"]

BLOCK = 1 << 14
_DAMAGE_EVERY = 4  # blocks
_DOSE_CELLS = 256  # across the field of view
_KEPT_WHOLE = 1 << 23  # paths up to this many samples are expanded once


@dataclass(frozen=True)
class Exposed:
    """What one block gives: the samples ``first_index`` to ``first_index + n`` of the path."""

    first_index: int
    values: NDArray[np.uint16]  # (channels, n)
    electrons: NDArray[np.float32]  # (n,) what the specimen gets, leaks included
    end_us: NDArray[np.float64]  # (n,) since the frame began
    achieved: NDArray[np.float32]  # (n, 2) ground truth, in fractions of the field
    cells: NDArray[np.intp]  # (n,) of the dose map

    def __len__(self) -> int:
        return len(self.electrons)


class Exposure:
    """The state that goes on from block to block and from frame to frame: time, coils, afterglow, dose, damage."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.kinds = tuple(detector.kind for detector in config.detectors)
        disorder = config.damage.disorder_nm if config.damage is not None else 0.0
        self.specimen = Specimen(config.specimen, config.probe, self.kinds, disorder)
        self.clock_us = 0.0  # of exposures; the time between frames does not count
        self.dose: DoseMap | None = None
        self.damage: Damage | None = None
        self._coils = Coils(config.coils)
        self._beam = Beam(config.beam)
        self._detectors = [Detector(detector) for detector in config.detectors]
        self._visit = -1
        self._since_damage = 0
        self._damaged_at_us = 0.0
        self._path: ScanPath | None = None

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Get ready to expose ``path`` from ``first_index`` on."""
        if path.count <= _KEPT_WHOLE:
            _ = path.positions  # expanded once, then sliced
        self._path = path
        self._height_nm = path.fov_nm * path.shape[0] / path.shape[1]
        self._visit += first_index == 0 or self._visit < 0
        self._field = self.specimen.field(path.fov_nm, self._height_nm, frame)
        if self.specimen.evolves:
            self.specimen.prefetch(path.fov_nm, self._height_nm, frame + 1)
        if self.dose is None or self.dose.extent_nm != self._field.extent_nm:
            self.dose = DoseMap(self._field.extent_nm, path.fov_nm / _DOSE_CELLS)
            if self.config.damage is not None:
                self.damage = Damage(self.config.damage, self.dose, self.config.seed)
        self._coils.settle_on(path.chunk(first_index, 1).positions[0])
        for detector in self._detectors:
            detector.dark()
        self._frame_us = 0.0

    def block(self, first_index: int) -> Exposed:
        """Expose the samples from ``first_index`` to the next boundary of blocks, or to the end of the path."""
        path, dose = self._begun()
        number = first_index // BLOCK
        count = min((number + 1) * BLOCK, path.count) - first_index
        generator = np.random.Generator(
            np.random.SFC64(np.random.SeedSequence([self.config.seed, self._visit, number]))
        )
        chunk = path.chunk(first_index, count)
        dwell_us = chunk.dwell_us
        move_us = chunk.move_us if chunk.move_us.any() else None
        end_us = np.cumsum(dwell_us if move_us is None else dwell_us + move_us)
        start_us = self.clock_us
        achieved = self._coils.follow(chunk.positions, dwell_us, move_us, start_us, generator, end_us)
        y, x = self._on_specimen(achieved, start_us + end_us)
        layers = self._field.lookup(y, x)
        cells = dose.cells(y, x)
        if self.damage is not None:
            layers = self.damage.act(layers, cells)
        incident, leak = self._beam.electrons(dwell_us, move_us, start_us, generator)
        low = layers[1] if self.specimen.low else None
        values = np.empty((len(self._detectors), count), np.uint16)
        for channel, (kind, detector) in enumerate(zip(self.kinds, self._detectors, strict=True)):
            expected = detected_fraction(kind, layers[0], low)
            expected *= incident
            values[channel] = detector.counts(expected, dwell_us, move_us, generator)
        spent = incident if leak is None else incident + leak
        exposed = Exposed(first_index, values, spent, self._frame_us + end_us, achieved, cells)
        self.clock_us += float(end_us[-1])
        self._frame_us += float(end_us[-1])
        return exposed

    def _on_specimen(
        self, achieved: NDArray[np.float32], time_us: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        path, _ = self._begun()
        y = achieved[:, 0] - np.float32(0.5)
        y *= np.float32(self._height_nm)
        x = achieved[:, 1] - np.float32(0.5)
        x *= np.float32(path.fov_nm)
        if not self.config.motion.still:
            moved = self.config.motion.displacement_nm(time_us)
            y -= moved[0]  # the specimen moves one way, so the beam meets what lies the other way
            x -= moved[1]
        return y, x

    def hit(self, exposed: Exposed, count: int) -> None:
        """The first ``count`` samples of the block did happen: their dose is on the specimen. Once per block."""
        path, dose = self._begun()
        dose.add(exposed.cells[:count], exposed.electrons[:count])
        if count < len(exposed):  # blanked within the block: give back the time that was not spent
            back = float(exposed.end_us[-1] - (exposed.end_us[count - 1] if count else self._start_of(exposed)))
            self.clock_us -= back
            self._frame_us -= back
        self._since_damage += 1
        finished = exposed.first_index + count == path.count
        if self.damage is not None and (self._since_damage >= _DAMAGE_EVERY or finished or count < len(exposed)):
            self.damage.advance(self.clock_us - self._damaged_at_us)
            self._damaged_at_us, self._since_damage = self.clock_us, 0
            if self.config.damage is not None and self.config.damage.knock_on is not None:
                self._field.without(self.damage.displaced(self._field))

    def begun(self, exposed: Exposed, index: int, now_us: float) -> float:
        """Electrons of sample ``index`` of the block, where the beam goes off ``now_us`` into the frame: they count."""
        path, dose = self._begun()
        dwell_us = float(path.chunk(exposed.first_index + index, 1).dwell_us[0])
        share = min(1.0, max(0.0, 1.0 - (float(exposed.end_us[index]) - now_us) / dwell_us))
        electrons = share * float(exposed.electrons[index])
        dose.add(exposed.cells[index : index + 1], np.array([electrons], np.float32))
        return electrons

    def _start_of(self, exposed: Exposed) -> float:
        first = self._begun()[0].chunk(exposed.first_index, 1)
        return float(exposed.end_us[0] - first.dwell_us[0] - first.move_us[0])

    def _begun(self) -> tuple[ScanPath, DoseMap]:
        if self._path is None or self.dose is None:
            raise RuntimeError("nothing was begun")
        return self._path, self.dose

    def expected_counts(
        self, shape: tuple[int, int], fov_nm: float, dwell_us: float, frame: int = 0, *, damaged: bool = False
    ) -> NDArray[np.float32]:
        """Noise-free counts (channels, rows, cols) at the middles of a frame's pixels, with the beam of the beginning.

        The specimen is taken where it is now, as it was before the beam came unless ``damaged``; the beam exactly
        where it was told to be. To ask costs the specimen nothing.
        """
        rows, cols = shape
        height_nm = fov_nm * rows / cols
        field = self.specimen.field(fov_nm, height_nm, frame)
        moved = self.config.motion.displacement_nm(np.array([self.clock_us]))
        electrons = np.float32(self.config.beam.current_pa * ELECTRONS_PER_PA_US * dwell_us)
        x = (((np.arange(cols) + 0.5) / cols - 0.5) * fov_nm - float(moved[1][0])).astype(np.float32)
        out = np.empty((len(self.kinds), rows, cols), np.float32)
        for row in range(rows):
            y = np.full(cols, ((row + 0.5) / rows - 0.5) * height_nm - float(moved[0][0]), np.float32)
            layers = field.lookup(y, x)
            if damaged and self.damage is not None and self.dose is not None:
                layers = self.damage.act(layers, self.dose.cells(y, x))
            low = layers[1] if self.specimen.low else None
            for channel, (kind, detector) in enumerate(zip(self.kinds, self.config.detectors, strict=True)):
                out[channel, row] = detector.expected(electrons * detected_fraction(kind, layers[0], low))
        return out
