"""A restoration of judged readings on its way to the processor, where it is told in the units of the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from restore.estimate.instrument import SpecimenReadings
from restore.estimate.misfit import MisfitWatch
from restore.feeding import Coming
from restore.fills.push_pull import push_pull
from restore.restorer import Restoration

__all__ = ["Homeward"]

_NOTICES = 8  # of a frame that are told
_Z90 = 1.645  # half-width of a normal distribution's 90 %, in standard deviations


@dataclass(frozen=True)
class Homeward:
    """What was restored, of which readings, and its images on their way: estimate, and interval and strain if any."""

    result: Restoration
    readings: SpecimenReadings
    images: Coming

    @classmethod
    def of(cls, result: Restoration, readings: SpecimenReadings) -> Homeward:
        """Put what was cut off the readings beside what was restored, on its device, and send it."""
        judged, geometry = readings.judged, readings.geometry
        estimate, interval = result.estimate.float(), result.interval
        if judged.excess is not None:
            cut, weight = geometry.grid(judged.excess.to(estimate.device))
            beyond = push_pull(cut[None, None], weight[None, None])[0, 0]
            estimate = estimate + beyond
            interval = None if interval is None else interval + beyond.abs()
        if readings.doubt and interval is not None:
            interval = (interval.square() + (_Z90 * readings.doubt) ** 2).sqrt()
        return cls(result, readings, Coming(*(x for x in (estimate, interval, result.strain) if x is not None)))

    def told(self, misfit: MisfitWatch) -> Restoration:
        """In the units of the samples, on the processor, once it is there."""
        judged, made_by, doubt = self.readings.judged, self.result.made_by, self.readings.doubt
        images = iter(self.images.here())
        estimate = next(images)
        interval = None if self.result.interval is None else next(images)
        strain = None if self.result.strain is None else next(images)
        precise = judged.estimate_dtype
        delay = None if misfit.delay is None or misfit.delay.decay_samples else misfit.delay  # one that can be applied
        cause = misfit.cause(judged, made_by.missed, self.readings.noise_variance is not None)
        expected = made_by.expected_rmse
        if expected is not None:
            expected = math.hypot(expected, doubt)

        def scaled(error: float | None) -> float | None:
            return None if error is None else error * judged.scale

        return Restoration(
            (estimate.to(precise) * judged.scale + judged.centre).contiguous(),
            None if interval is None else (interval.to(precise) * judged.scale).contiguous(),
            msgspec.structs.replace(
                made_by,
                withheld_rmse=scaled(made_by.withheld_rmse),
                expected_rmse=scaled(expected),
                outliers=judged.outliers,
                lost=judged.lost,
                saturated=judged.saturated,
                delay_samples=None if delay is None else delay.samples,
                delay_sd_samples=None if delay is None else delay.sd_samples,
                cause=cause,
                notices=(*made_by.notices, *misfit.notices(cause, made_by.missed), *self.readings.notices)[:_NOTICES],
            ),
            strain=strain,
        )
