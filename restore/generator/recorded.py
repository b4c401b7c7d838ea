"""A function of tensors recorded with fixed places for what goes in and comes out; on a GPU a graph that is replayed.

A GPU spends more time on being told of hundreds of small kernels than on computing them, so there a whole network is
recorded once, as a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs), and replayed with new
inputs in the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Accounting", "Recorded", "tensors_of", "with_tensors"]

Said = TypeVar("Said", bound=tuple[Any, ...])
Value = TypeVar("Value")

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
        self._foreign: dict[int, Tensor] = {}  # by storage
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}  # and its bytes
        self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here: PyTorch would load its compiler, a second's work, to be told so."""
        return False

    @property
    def foreign(self) -> tuple[Tensor, ...]:
        """See above."""
        return tuple(self._foreign.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        for tensor in (*_tensors(args), *_tensors(given.values())):
            place = _place(tensor)
            if place not in self._made:
                self._foreign[place] = tensor
        found = func(*args, **given)
        made = [one for one in _tensors((found,)) if _place(one) not in self._made and _place(one) not in self._foreign]
        if made:
            # A weak reference keeps a storage's place from being taken by another: what has ended is let go only here.
            self._made = {place: kept for place, kept in self._made.items() if not kept[0].expired()}
            for tensor in made:
                storage = tensor.untyped_storage()
                self._made[_place(tensor)] = (StorageWeakRef(storage), storage.nbytes())
            self.peak = max(self.peak, sum(size for _, size in self._made.values()))
        return found


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # noqa: SLF001 - the address of the storage itself; it has no other name


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among values, and in the lists, tuples and data classes among them."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
        elif hasattr(value, "__dataclass_fields__"):
            found += _tensors(vars(value).values())
    return found


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a data class and of those in it, in their order."""
    return _tensors([value])


def with_tensors(value: Value, tensors: Iterator[Tensor]) -> Value:
    """A data class like ``value``, its tensors and those of the data classes in it taken from ``tensors``."""
    if isinstance(value, Tensor):
        return next(tensors)  # type: ignore[return-value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    return replace(value, **{name: with_tensors(part, tensors) for name, part in vars(value).items()})  # type: ignore[type-var]


class Recorded(Generic[Said]):
    """A function of tensors of fixed shapes, with fixed places for them; on a GPU a graph that is replayed.

    What a call returns lies in fixed places too, and is overwritten by the next. On a processor the function is called
    on the fixed places, and what it returns is copied to its own, without a graph. A graph goes on reading the
    constants that it was recorded with, so they are ``owned`` here, whatever becomes of the caches that they came from.

    Args:
        function: what to record.
        examples: of its arguments.
        pool: memory that recordings share, each of which is done with what it said before another is replayed.
    """

    def __init__(self, function: Callable[..., Said], *examples: Tensor, pool: Any = None) -> None:
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

    def __call__(self, *inputs: Tensor) -> Said:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        if self._graph is not None:
            self._graph.replay()
            return self._outputs
        found = self._function(*self._inputs)
        kept, made = _tensors(self._outputs), _tensors(found)
        if len(kept) != len(made):  # what nobody would see a processor leaves out
            return found
        for own, new in zip(kept, made, strict=True):
            own.copy_(new)
        return self._outputs

    @property
    def fixed_bytes(self) -> int:
        """Of its fixed places."""
        return sum(tensor.nbytes for tensor in (*self._inputs, *_tensors(self._outputs)))
