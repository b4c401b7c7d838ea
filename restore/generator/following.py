"""Recordings of a network on frames that begin with what the frame before carried.

One is of frames that the network looks at, another of those between, which are the start alone beside what it said
last. What is carried is moved by the drift before it is put into its places, and copied out of them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from restore.estimate.carried import CarriedProcess
from restore.generator.carried import LOOKS_EVERY, Carried
from restore.generator.generator import Estimate
from restore.generator.recorded import Recorded, tensors_of, with_tensors
from restore.restorer import STILL

__all__ = ["RecordedFollowing", "copied"]

Handed = TypeVar("Handed", Carried, CarriedProcess)


def copied(carried: Handed) -> Handed:
    """The same in places of its own."""
    return with_tensors(carried, (tensor.clone() for tensor in tensors_of(carried)))


class RecordedFollowing:
    """A network recorded on single frames of one size that follow others.

    Args:
        network: what to record.
        given: mean, weight, distance and noise of a frame, see :meth:`restore.generator.generator.Generator.forward`.
        carried: what the network carried on from one.
        pool: as of :class:`restore.generator.recorded.Recorded`.
    """

    def __init__(
        self, network: Callable[..., Estimate], given: tuple[Tensor, ...], carried: Carried, pool: Any = None
    ) -> None:
        self._network, self._like = network, carried
        examples = (*given, *tensors_of(carried))
        self._recordings = {
            looks: Recorded(partial(self._followed, LOOKS_EVERY if looks else 0), *examples, pool=pool)
            for looks in (True, False)
        }

    def _followed(
        self, frames: int, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor, *known: Tensor
    ) -> Estimate:
        before = replace(with_tensors(self._like, iter(known)), since=STILL, frames=frames)
        return self._network(mean, weight, distance, noise, before)

    @property
    def fixed_bytes(self) -> int:
        """Of the fixed places of its recordings."""
        return sum(recording.fixed_bytes for recording in self._recordings.values())

    def suits(self, before: Carried) -> bool:
        """Whether it was recorded with as much as was carried: a processor leaves out what nobody would see."""
        return [x.shape for x in tensors_of(before)] == [x.shape for x in tensors_of(self._like)]

    def __call__(self, given: tuple[Tensor, ...], before: Carried) -> Estimate:
        """As the network says of a frame that follows; overwritten by the next call, but for what is carried on."""
        here = before
        if not before.looks:
            correction, log_scale = before.said()
            here = replace(before, correction=correction, log_scale=log_scale)
        found = self._recordings[before.looks](*given, *tensors_of(here))
        if found.carried is None:
            return found
        if before.looks:
            return found._replace(carried=replace(copied(found.carried), age=before.age))
        return found._replace(carried=replace(before, process=copied(found.carried.process)))
