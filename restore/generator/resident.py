"""A network as it stays on its device: in the precision that the device is fast in, and recorded if launches cost more.

A GPU spends more time on being told of hundreds of small kernels than on computing them, so there the whole network is
recorded once for each frame size, as a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs),
and replayed with new inputs in the same places.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from restore.generator.carried import Carried
from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Estimate, Generator
from restore.generator.planes import FULL_CHANNELS, HALF_CHANNELS
from restore.generator.subnetworks import CONDITIONS
from scancontrol.errors import InvalidInput
from scancontrol.recent import Recent

__all__ = ["PRECISIONS", "Precision", "Recorded", "Resident", "fast_precision", "measured_precision"]

Precision = Literal["auto", "single", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "single", "bfloat16")

log = logging.getLogger(__name__)

_TRIAL_SIDE = 512  # of the frame that precisions are timed on
_TRIALS = 4
_RECORDINGS = 4  # frame sizes that stay recorded
_WARM_UPS = 3  # calls before recording, in which libraries choose their algorithms and allocate


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


class _Foreign(TorchDispatchMode):
    """Keeps every tensor that operations read and that none of them made: weights, and constants of bounded caches."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[int, Tensor] = {}  # by where their values lie
        self._made: dict[int, Tensor] = {}  # kept alive, so that no later tensor takes an earlier one's place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            place = tensor.untyped_storage().data_ptr()
            if place not in self._made:
                self.tensors[place] = tensor
        found = func(*args, **(kwargs or {}))
        for tensor in _tensors(found):
            place = tensor.untyped_storage().data_ptr()
            if place not in self.tensors:
                self._made[place] = tensor
        return found


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Recorded:
    """A function of tensors of fixed shapes, with fixed places for them; on a GPU a graph that is replayed.

    What a call returns lies in fixed places too, and is overwritten by the next. On a processor the function is
    called on the fixed places, without a graph. A graph goes on reading the constants that it was recorded with, so
    they are ``owned`` here, whatever becomes of the caches that they came from.
    """

    def __init__(self, function: Callable[..., Estimate], *examples: Tensor) -> None:
        self._function, self._inputs = function, tuple(example.clone() for example in examples)
        self._graph: torch.cuda.CUDAGraph | None = None
        function(*self._inputs)  # makes the constants, if they are not there yet
        with _Foreign() as foreign:
            function(*self._inputs)
        self.owned = tuple(foreign.tensors.values())
        if examples[0].device.type != "cuda":
            return
        device = examples[0].device
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):  # recording wants everything allocated and chosen before, on another stream
            for _ in range(_WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Estimate:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        if self._graph is None:
            return self._function(*self._inputs)
        self._graph.replay()
        return self._outputs


class Resident:
    """Calls a trained network in its device's fast precision; the network is changed to it.

    Only the two networks are: the spectral start, the frame and the interval stay in single precision.

    Args:
        precision: ``auto`` for :func:`measured_precision`, or which; the author's networks keep single precision.
        recorded: replay recordings; by default on GPUs.

    Raises:
        InvalidInput: no such precision.
    """

    def __init__(
        self, network: Generator | Ede2020, precision: Precision = "auto", recorded: bool | None = None
    ) -> None:
        if precision not in PRECISIONS:
            raise InvalidInput("precision", repr(precision), "is unknown", f"choose {', '.join(PRECISIONS)}")
        self.network = network
        device = next(network.parameters()).device
        self._recorded = device.type == "cuda" if recorded is None else recorded
        self._recordings: Recent[torch.Size, Recorded] = Recent(_RECORDINGS)
        if isinstance(network, Generator):
            chosen = {"single": torch.float32, "bfloat16": torch.bfloat16}.get(precision)
            network.compute_in(chosen or measured_precision(network))

    def __call__(
        self, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor, before: Carried | None = None
    ) -> Estimate:
        """As :meth:`restore.generator.generator.Generator.forward`; with recordings, overwritten by the next call.

        Recordings are of frames that begin anew, so they carry nothing.
        """
        given = (mean, weight, distance, noise)
        if not self._recorded:
            found: Estimate = self.network(*given) if before is None else self.network(*given, before)
            return found
        return self._recordings.made(mean.shape, lambda: Recorded(self.network, *given))(*given)._replace(carried=None)
