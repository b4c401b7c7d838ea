"""A function of tensors recorded with fixed places for what goes in and comes out; on a GPU a graph that is replayed.

A GPU spends more time on being told of hundreds of small kernels than on computing them, so there a whole network is
recorded once, as a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs), and replayed with new
inputs in the same places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from restore.generator.generator import Estimate

__all__ = ["Accounting", "Recorded"]

_WARM_UPS = 3  # calls before recording, in which libraries choose their algorithms and allocate


class Accounting(TorchDispatchMode):
    """Notes what operations read that none of them made, and how many bytes of what they made are alive at the most.

    What is read and not made are weights, and constants of bounded caches. Nothing that was made is kept alive by
    being noted.

    Attributes:
        foreign: a tensor of each storage that was read and not made.
        peak: the most bytes that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._foreign: dict[StorageWeakRef, Tensor] = {}
        self._made: dict[StorageWeakRef, int] = {}  # bytes of each storage
        self.peak = 0

    @property
    def foreign(self) -> tuple[Tensor, ...]:
        """See above."""
        return tuple(self._foreign.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            place = StorageWeakRef(tensor.untyped_storage())
            if place not in self._made:
                self._foreign[place] = tensor
        found = func(*args, **(kwargs or {}))
        for tensor in _tensors(found):
            place = StorageWeakRef(tensor.untyped_storage())
            if place not in self._foreign:
                self._made[place] = tensor.untyped_storage().nbytes()
        # A weak reference keeps a storage's place from being taken by another, so what has ended is let go only here.
        self._made = {place: size for place, size in self._made.items() if not place.expired()}
        self.peak = max(self.peak, sum(self._made.values()))
        return found


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Recorded:
    """A function of tensors of fixed shapes, with fixed places for them; on a GPU a graph that is replayed.

    What a call returns lies in fixed places too, and is overwritten by the next. On a processor the function is called
    on the fixed places, and what it returns is copied to its own, without a graph. A graph goes on reading the
    constants that it was recorded with, so they are ``owned`` here, whatever becomes of the caches that they came from.

    Args:
        function: what to record.
        examples: of its arguments.
        pool: memory that recordings share, each of which is done with what it said before another is replayed.
    """

    def __init__(self, function: Callable[..., Estimate], *examples: Tensor, pool: Any = None) -> None:
        self._function, self._inputs = function, tuple(example.clone() for example in examples)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs = function(*self._inputs)  # makes the constants, if they are not there yet
        with Accounting() as accounting:
            function(*self._inputs)
        self.owned = accounting.foreign
        if examples[0].device.type == "cuda":
            with torch.cuda.device(examples[0].device):
                self._record(pool)

    def _record(self, pool: Any) -> None:
        device = self._inputs[0].device
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):  # recording wants everything allocated and chosen before, on another stream
            for _ in range(_WARM_UPS):
                self._function(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may look for a crystal meanwhile; what it does is not recorded, and forbids nothing.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._outputs = self._function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Estimate:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        if self._graph is not None:
            self._graph.replay()
            return self._outputs
        for own, made in zip(_tensors(self._outputs), _tensors(self._function(*self._inputs)), strict=True):
            own.copy_(made)
        return self._outputs
