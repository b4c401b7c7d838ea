"""What a GPU's recording forbids, told without a GPU: a dispatch mode that refuses it and counts kernels.

On the meta device tensors have no data, so whatever reads a value fails by itself; the mode names it, and refuses what
needs the host although it has a meta implementation.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal")
SHAPES = ("aten::nonzero", "aten::masked_select", "aten::unique", "aten::_unique2", "aten::repeat_interleave.Tensor")
VIEWS = (
    "view", "reshape", "_unsafe_view", "expand", "permute", "transpose", "t", "slice", "select", "narrow", "unbind",
    "split", "split_with_sizes", "chunk", "unsqueeze", "squeeze", "detach", "alias", "as_strided", "view_as_real",
    "view_as_complex", "unflatten", "flatten", "lift_fresh", "real", "imag", "diagonal", "empty", "empty_like",
    "new_empty", "empty_strided", "new_empty_strided", "_reshape_alias", "unfold", "movedim",
)  # fmt: skip


class ForbiddenInCapture(AssertionError):
    """An operation that a CUDA graph cannot record."""


class Capture(TorchDispatchMode):
    """Refuses host reads, shapes that depend on data and copies between devices; counts what launches a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()

    @property
    def launches(self) -> int:
        """Operations so far that are no views."""
        return self.kernels.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if name in READS or func.name() in READS:
            raise ForbiddenInCapture(f"{name} reads a value on the host")
        if name in SHAPES or func.name() in SHAPES:
            raise ForbiddenInCapture(f"{name} has a shape that depends on data")
        if name == "aten::index" and any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1]):
            raise ForbiddenInCapture("a mask as index has a shape that depends on data")
        given = kwargs or {}
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name in ("aten::_to_copy", "aten::copy_"):
            devices = {t.device.type for t in tensors} | ({given["device"].type} if given.get("device") else set())
            if len(devices) > 1:
                raise ForbiddenInCapture(f"{name} copies between {' and '.join(sorted(devices))}")
        if name.removeprefix("aten::") not in VIEWS:
            self.kernels[name.removeprefix("aten::")] += 1
        return func(*args, **given)
