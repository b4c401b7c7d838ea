"""A network as it stays on its device: in the precision that the device is fast in, prepared for frame sizes.

To prepare for a size is to measure the memory that a frame of it needs, to choose from that how many are restored at
once, and, where launches cost more than computing, to record the network for each such number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from restore.generator.carried import Carried
from restore.generator.ede2020 import Ede2020
from restore.generator.following import RecordedFollowing, copied
from restore.generator.fusion import Fusion
from restore.generator.generator import Estimate, Generator
from restore.generator.planes import FULL_CHANNELS, HALF_CHANNELS
from restore.generator.recorded import Accounting, Recorded
from restore.generator.subnetworks import CONDITIONS
from scancontrol.errors import InvalidInput
from scancontrol.recent import Recent

__all__ = ["PRECISIONS", "FrameMemory", "Precision", "Resident", "fast_precision", "measured_precision"]

Precision = Literal["auto", "single", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "single", "bfloat16")

log = logging.getLogger(__name__)

_TRIAL_SIDE = 512  # of the frame that precisions are timed on
_TRIALS = 4
_SIZES = 8  # frame sizes that stay prepared
_TOGETHER = (1, 2, 4, 8, 16)  # frames at once
_TOGETHER_HERE = 1  # on a processor
_PROCESSOR_BYTES = 2 << 30


def fast_precision(device: torch.device, capabilities: dict[str, Any] | None = None) -> torch.dtype:
    """bfloat16 where the device has instructions for it, else float32.

    Args:
        capabilities: of the processor, as ``torch.cpu.get_capabilities`` says; asked for if not given.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type != "cpu":
        return torch.float32
    found = torch.cpu.get_capabilities() if capabilities is None else capabilities
    return torch.bfloat16 if found.get("avx512_bf16") or found.get("amx_bf16") else torch.float32


@torch.no_grad()
def measured_precision(network: Generator, clock: Callable[[], float] = time.perf_counter) -> torch.dtype:
    """The precision in which this network is fastest here: instructions alone say little, so both are timed."""
    device = next(network.parameters()).device
    if device.type != "cpu" or fast_precision(device) is torch.float32:
        return fast_precision(device)
    side = _TRIAL_SIDE // 4
    planes = [torch.zeros(1, channels, side, side) for channels in (HALF_CHANNELS, FULL_CHANNELS)]
    conditions = torch.zeros(1, CONDITIONS)
    times = {}
    for precision in (torch.float32, torch.bfloat16):
        network.compute_in(precision)
        half, full = (x.to(precision, memory_format=torch.channels_last) for x in planes)
        taken = []
        for _ in range(_TRIALS):
            began = clock()
            network.outer(full, network.inner(half, conditions))
            taken.append(clock() - began)
        times[precision] = min(taken)
    log.info("networks take %s", ", ".join(f"{1e3 * s:.1f} ms in {p}" for p, s in times.items()))
    return min(times, key=times.__getitem__)


@dataclass(frozen=True)
class FrameMemory:
    """What frames of one size (rows, cols) need beside the weights; a library's own scratch space is not counted.

    Attributes:
        each: bytes that are alive at the most while one is restored, with what is handed in.
        together: how many are restored at once, 1 and rising powers of 2.
        kept: bytes of the fixed places of their recordings.
    """

    rows: int
    cols: int
    each: int
    together: tuple[int, ...]
    kept: int = 0

    @property
    def most(self) -> int:
        """Bytes while as many as may are restored at once."""
        return self.each * self.together[-1] + self.kept

    def __str__(self) -> str:
        several = f"; {self.together[-1]} at once {self.most / 2**20:.0f} MiB" if self.together[-1] > 1 else ""
        return f"a frame of {self.rows} × {self.cols} needs {self.each / 2**20:.0f} MiB{several}"


@dataclass(frozen=True)
class _Size:
    memory: FrameMemory
    recordings: dict[int, Recorded[Estimate]]
    following: RecordedFollowing | None


def _memory_limit(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _PROCESSOR_BYTES


class Resident:
    """Calls a trained network in its device's fast precision; the network is changed to it.

    Only the two networks are: the spectral start, the frame and the interval stay in single precision.

    Args:
        precision: ``auto`` for :func:`measured_precision`, or which; the author's networks keep single precision.
        recorded: replay recordings; by default on GPUs.
        together: how many frames are restored at once at most; by default what suits the device.
        limit: bytes that frames and recordings may need; by default half of what is free on a GPU.
        fusion: compiles chains of operations of what is recorded; by default on GPUs.

    Attributes:
        carries: whether recordings carry on what the next frame may begin with; to be set before sizes are prepared.

    Raises:
        InvalidInput: no such precision, or no frame at all at once.
    """

    def __init__(
        self,
        network: Generator | Ede2020,
        precision: Precision = "auto",
        recorded: bool | None = None,
        together: int | None = None,
        limit: int | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InvalidInput("precision", repr(precision), "is unknown", f"choose {', '.join(PRECISIONS)}")
        device = next(network.parameters()).device
        most = (_TOGETHER[-1] if device.type == "cuda" else _TOGETHER_HERE) if together is None else together
        if not 1 <= most <= _TOGETHER[-1]:
            raise InvalidInput("together", most, f"is outside 1 to {_TOGETHER[-1]} frames", "give 1 for none together")
        self.network = network
        self.carries = False
        self._recorded = device.type == "cuda" if recorded is None else recorded
        # The author's networks subtract means over all that is in a batch, so a frame there would see the others.
        self._together = tuple(n for n in _TOGETHER if n <= (most if isinstance(network, Generator) else 1))
        self._limit = _memory_limit(device) if limit is None else limit
        self._sizes: Recent[tuple[int, ...], _Size] = Recent(_SIZES)
        self._fusion = Fusion() if fusion is None and device.type == "cuda" else fusion
        self._pool = torch.cuda.graph_pool_handle() if self._recorded and device.type == "cuda" else None
        if isinstance(network, Generator):
            chosen = {"single": torch.float32, "bfloat16": torch.bfloat16}.get(precision)
            network.compute_in(chosen or measured_precision(network))

    @torch.inference_mode()
    def prepare(self, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor) -> FrameMemory:
        """Measure what a frame of this size needs, and record the network for each number of them that fits.

        Sizes that were prepared the longest ago lose their recordings when all need more than the limit.

        Args:
            mean, weight, distance, noise: of one frame, see :meth:`restore.generator.generator.Generator.forward`.
        """
        known = self._sizes.get(tuple(mean.shape[-2:]))
        if known is not None:
            return known.memory
        given = (mean, weight, distance, noise)
        with Accounting() as accounting:
            example = self.network(*given)
        handed_in = sum(tensor.nbytes for tensor in given)
        each = accounting.peak + handed_in
        together = tuple(n for n in self._together if n == 1 or n * each <= self._limit)
        recordings = {n: self._record(given, n) for n in reversed(together)} if self._recorded else {}
        made = {n: recording for n, recording in recordings.items() if recording is not None}
        if self._recorded:
            together = tuple(n for n in together if n == 1 or n in made)
        following = None
        if made and self.carries and example.carried is not None:
            following = RecordedFollowing(self.network, given, example.carried, self._pool)
        kept = sum(one.fixed_bytes for one in made.values()) + (0 if following is None else following.fixed_bytes)
        memory = FrameMemory(mean.shape[-2], mean.shape[-1], each, together, kept)
        self._sizes[memory.rows, memory.cols] = _Size(memory, made, following)
        while len(self._sizes) > 1 and self.most_bytes > self._limit:
            self._sizes.popitem(last=False)
        log.info("%s", memory)
        return memory

    @property
    def chooses(self) -> bool:
        """Whether what a frame needs decides anything: how many go at once, or are recorded."""
        return self._recorded or len(self._together) > 1

    def is_prepared(self, shape: tuple[int, int]) -> bool:
        """Whether it is for frames of that size."""
        return shape in self._sizes

    def _record(self, given: tuple[Tensor, ...], number: int) -> Recorded[Estimate] | None:
        """For so many frames; None if the device has no memory for them."""
        examples = [x.repeat(number, *[1] * (x.dim() - 1)) for x in given]
        try:
            plain = Recorded(self.network, *examples, pool=self._pool)
        except torch.OutOfMemoryError:
            log.warning("%d frames of %d × %d at once want more memory than there is", number, *given[0].shape[-2:])
            torch.cuda.empty_cache()
            return None
        if self._fusion is None:
            return plain
        try:
            return self._fusion.better(plain, self.network, *examples, pool=self._pool)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return plain

    @property
    def most(self) -> int:
        """How many frames are restored at once at most, where they fit."""
        return self._together[-1]

    @property
    def most_bytes(self) -> int:
        """What all sizes that are prepared need at the most: recordings share what is not their fixed places."""
        known = [size.memory for size in self._sizes.values()]
        return max((one.most - one.kept for one in known), default=0) + sum(one.kept for one in known)

    def together(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """How many frames of a size may be handed in at once, rising; of one that is not prepared, one."""
        return self._sizes[shape].memory.together if shape in self._sizes else (1,)

    def __call__(
        self, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor, before: Carried | None = None
    ) -> Estimate:
        """As :meth:`restore.generator.generator.Generator.forward`; from a recording, overwritten by the next call.

        But for what is carried on. Nothing is recorded here, where the beam may be waiting: what is not prepared is
        computed without.
        """
        given = (mean, weight, distance, noise)
        size = self._sizes.get(tuple(mean.shape[-2:]))
        if before is not None:
            following = None if size is None else size.following
            if following is None or not following.suits(before):
                return self.network(*given, before)
            return following(given, before)
        recording = None if size is None else size.recordings.get(len(mean))
        if recording is None:
            return self.network(*given)
        found = recording(*given)
        return found._replace(carried=copied(found.carried) if found.carried and self.carries else None)
