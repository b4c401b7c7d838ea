"""The scans that a calibration takes at a running microscope, and how they become estimates.

Ordinary scans of one place: forwards, and once more for the noise, backwards, back and forth, and along a spiral both
ways.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.calibration.counting import Counting, counting
from scancontrol.calibration.estimate import CoilEstimate, NothingLate, estimate
from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.dose import electrons as dose
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe, ScanPath, expand
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.rasters import Raster, Serpentine
from scancontrol.paths.patterns.spirals import Archimedean

__all__ = ["Calibration", "calibrate", "calibration_recipes", "measured"]

_SILENCE_S = 5.0
_BEST_DWELLS = (0.4, 4.0)  # how late readings are, in dwells, where what makes them so shows well


@dataclass(frozen=True)
class Calibration:
    """What one set of scans of ``dwell_us`` tells. ``untold``: why it does not tell the rest, a sentence each."""

    dwell_us: float
    coils: CoilEstimate | None
    counting: Counting | None
    untold: tuple[str, ...] = ()


def calibration_recipes(capabilities: Capabilities, fov_nm: float, pixels: int, dwell_us: float) -> list[PathRecipe]:
    """A set of scans that parts lag from delay: no settling, so that flybacks and turns show the coils' response.

    The first two are along one path.
    """
    if not 32 <= pixels <= 1024:
        raise InvalidInput("pixels", pixels, "is outside 32 to 1024", "128 suits most places")

    def recipe(pattern: Any) -> PathRecipe:
        return PathRecipe(
            pattern=pattern,
            shape=(pixels, pixels),
            fov_nm=fov_nm,
            dwell_us=dwell_us,
            dac_bits=capabilities.dac_bits,
            clock_mhz=capabilities.sample_clock_mhz,
        )

    raster, spiral = recipe(Raster()), recipe(Archimedean(turn_spacing_px=1.0, extent="inscribed"))
    backwards = [
        recipe(Points.from_array(np.array(expand(one).positions[::-1]), jump_px=1e9)) for one in (raster, spiral)
    ]
    return [raster, raster, backwards[0], recipe(Serpentine()), spiral, backwards[1]]


def calibrate(
    link: MicroscopeLink,
    fov_nm: float,
    pixels: int,
    dwell_us: float,
    *,
    order: int = 1,
    channel: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Calibration:
    """Scan and estimate; once more with a better dwell where the first one was far from the time constant.

    ``tell`` is told each set of scans, and its dose, before the beam moves.

    Raises:
        InvalidInput: the scans would pass a dose limit.
        LinkError: a scan did not complete.
    """
    capabilities = link.capabilities
    if not 0 <= channel < len(capabilities.detectors):
        raise InvalidInput("channel", channel, f"is outside 0 to {len(capabilities.detectors) - 1}", "name one of them")
    dwell_us = min(max(dwell_us, capabilities.shortest_dwell_us), capabilities.longest_dwell_us)
    found, used = Calibration(dwell_us, None, None), 0.0
    for series in (1, 2):
        paths = [expand(one) for one in calibration_recipes(capabilities, fov_nm, pixels, dwell_us)]
        spent = sum(dose.frame_dose(path, capabilities.beam_current_pa).region_e_per_a2 for path in paths)
        tell(f"{len(paths)} scans of {pixels} × {pixels} at {dwell_us:g} us: {spent:.0f} e/Å²")
        scans = [_scan(link, path, series, frame, channel) for frame, path in enumerate(paths)]
        before, used = found, dwell_us
        found = measured(scans, (pixels, pixels), capabilities.detectors[channel], order=order)
        if found.coils is None:  # what was found with another dwell is still so
            return before if before.coils is not None else found
        late_us = found.coils.late_us
        if found.coils.parted and _BEST_DWELLS[0] * used <= late_us <= _BEST_DWELLS[1] * used:
            break
        dwell_us = min(max(late_us, capabilities.shortest_dwell_us), capabilities.longest_dwell_us)
        if abs(dwell_us - used) < 0.1 * used:
            break
    return found if found.counting is not None else replace(found, counting=before.counting)


def measured(
    scans: Sequence[CalibrationScan], shape: tuple[int, int], detector: DetectorChannel, *, order: int = 1
) -> Calibration:
    """What the scans of :func:`calibration_recipes` over ``shape`` (rows, cols) tell of coils and detector."""
    coils, counted, untold = None, None, []
    decay_us, decay_sd_us = detector.decay_us, detector.decay_sd_us or 0.0
    late_us = 0.0
    try:
        coils = estimate(scans[1:], shape, order=order)
        late_us = coils.late_us
    except NothingLate as refusal:
        late_us = refusal.at_most_us
        untold.append(str(refusal))
    if coils is not None and coils.decay_us is not None:
        decay_us, decay_sd_us = coils.decay_us, coils.decay_sd_us or 0.0
    elif decay_us == 0:  # it may be any part of all that is late
        decay_us, decay_sd_us = 0.5 * late_us, 12**-0.5 * late_us
    try:
        counted = counting(
            scans[0],
            scans[1],
            shape[1],
            decay_us=decay_us,
            decay_sd_us=decay_sd_us,
            read_noise_counts=detector.read_noise_counts,
            averages=detector.averages,
        )
    except InvalidInput as refusal:
        untold.append(str(refusal))
    return Calibration(float(scans[0].dwell_us[0]), coils, counted, tuple(untold))


def _scan(link: MicroscopeLink, path: ScanPath, series: int, frame: int, channel: int) -> CalibrationScan:
    """Take one frame over the ordinary link."""
    values = np.zeros(path.count)
    link.start(link.register(path.recipe), series, frame, area="calibration")
    heard = time.monotonic()
    while True:
        event = link.receive(0.2)
        if isinstance(event, Chunk):
            values[event.first_index : event.next_index] = event.values[channel]
            link.acknowledge(event.series_id, event.frame, event.next_index)
        elif isinstance(event, End):
            if event.reason != "completed":
                raise LinkError(f"the calibration's scan ended early ({event.reason}): {event.message or 'no message'}")
            return CalibrationScan(path.positions, path.dwell_us, path.move_us, values)
        heard = time.monotonic() if event is not None else heard
        if time.monotonic() - heard > _SILENCE_S + path.duration_us * 1e-6:
            raise LinkError(f"no samples for {_SILENCE_S:g} s; check the microscope, then calibrate again")
