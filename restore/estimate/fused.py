"""Chains of operations that can be compiled to few kernels, where launches cost more than what is launched.

A chain is a function of tensors without transforms, products of matrices and values read by the host. It is called as
it is written unless it is called within :func:`fusing`: then it is compiled by ``torch.compile``, for any size at once.
Whoever fuses compares what comes of it, and how fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

__all__ = ["Backend", "chain", "fusing"]

P = ParamSpec("P")
T = TypeVar("T")

_FORMS = 64  # of a chain, for sizes that its compiled form does not hold for

Backend = str | Callable[..., Any]
"""Of ``torch.compile``: its name, or itself."""

_backend: ContextVar[Backend | None] = ContextVar("backend", default=None)


@contextmanager
def fusing(backend: Backend = "inductor") -> Iterator[None]:
    """Chains within it are compiled, each when it is first called; what a compiler raises comes from that call."""
    before = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(before)


def chain(function: Callable[P, T]) -> Callable[P, T]:
    """A function that :func:`fusing` compiles."""
    compiled: dict[Backend, Callable[P, T]] = {}

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():  # as a part of another chain
            return function(*args, **kwargs)
        backend = _backend.get()
        if backend is None or is_in_torch_dispatch_mode():  # whoever looks on is to see every operation
            return function(*args, **kwargs)
        if backend not in compiled:
            compiled[backend] = torch.compile(function, backend=backend, fullgraph=True, dynamic=True)
        with import_module("torch._dynamo.config").patch(recompile_limit=_FORMS):  # slow to import, and seldom needed
            return compiled[backend](*args, **kwargs)

    return called
