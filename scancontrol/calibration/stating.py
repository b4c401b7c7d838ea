"""What a calibration changes in what a microscope states: only what its scans told."""

from __future__ import annotations

import msgspec

from scancontrol.calibration.counting import Counting
from scancontrol.calibration.estimate import CoilEstimate
from scancontrol.capabilities import CoilModel, DetectorChannel

__all__ = ["calibrated_coil", "calibrated_detector"]

_APART = 2.0  # standard deviations


def calibrated_detector(
    stated: DetectorChannel, coils: CoilEstimate | None, counted: Counting | None
) -> DetectorChannel:
    """``stated`` with the afterglow, gain and dark level that were told; an afterglow that was denied is none."""
    channel = stated
    decay_us, sd_us = (None, None) if coils is None else (coils.decay_us, coils.decay_sd_us)
    if decay_us is not None and sd_us is not None and (decay_us > 0 or stated.decay_us > _APART * sd_us):
        channel = msgspec.structs.replace(channel, decay_us=decay_us, decay_sd_us=sd_us)
    if counted is not None:
        channel = msgspec.structs.replace(
            channel, counts_per_electron=counted.counts_per_electron, offset_counts=counted.offset_counts
        )
    return channel


def calibrated_coil(coils: CoilEstimate, stated: DetectorChannel) -> CoilModel:
    """The coils beside a detector of which ``stated`` will be said.

    An afterglow that is stated though it was not told from lag and delay is in their sum: there it is taken off, so
    that readings come as late as they do.
    """
    coil = coils.coil
    if coils.decay_us is None:
        late_of_tau = 1.0 if coil.order == 1 else 2 * coil.damping
        left_us = max(0.0, coil.time_constant_us - stated.decay_us / late_of_tau)
        return msgspec.structs.replace(coil, time_constant_us=left_us)
    if coils.decay_us == 0 and stated.decay_us > 0:
        return msgspec.structs.replace(coil, delay_us=coil.delay_us - stated.decay_us)
    return coil
