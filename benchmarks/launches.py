"""Kernels that a frame launches on a GPU, by kind of frame: as they are written, and with chains compiled.

Both are told without a GPU. Written ones are counted on the meta device. The kernels of chains are those that the
compiler writes for the processor, by the same front before another code generator: one that splits a long sum into
two on a GPU, and not here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config
from torch._inductor import metrics
from torch._inductor.compile_fx import compile_fx
from torch._inductor.graph import GraphLowering

from benchmarks._capture import Capture
from restore.estimate.fused import fusing
from restore.estimate.process import spectral_start
from restore.generator.generator import Generator
from restore.generator.planes import _least_energy, _planes_by_few_kernels
from restore.generator.presets import PRESETS

_SIDE = 512
_LIBRARY = (torch.conv2d, torch.nn.functional.linear)  # what a compiler leaves to the libraries that it calls
_CHAINS = "fused.py"  # in whose frames of the stack a chain runs


class _Outside(Capture):
    """Counts apart what is outside chains."""

    def __init__(self) -> None:
        super().__init__()
        self.outside = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.launches
        found = super().__torch_dispatch__(func, types, args, kwargs)
        frame: Any = sys._getframe()  # noqa: SLF001 - nothing else tells who calls
        while frame is not None and not frame.f_code.co_filename.endswith(_CHAINS):
            frame = frame.f_back
        self.outside += self.launches - before if frame is None else 0
        return found


def _code_alone(lowered: GraphLowering) -> object:
    """Write a graph's kernels, and compile none of them."""
    lowered.codegen()
    return SimpleNamespace(call=None, __file__="")


class _Kernels:
    """A backend that writes and counts the kernels of what is called, and runs it as it is."""

    def __init__(self) -> None:
        self.launched = 0

    def __call__(self, graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
        before = metrics.generated_kernel_count
        with patch.object(GraphLowering, "compile_to_module", _code_alone), inductor_config.patch(fx_graph_cache=False):
            compile_fx(graph, examples)
        library = sum(node.target in _LIBRARY for node in graph.graph.nodes)
        each = metrics.generated_kernel_count - before + library

        def called(*args: Any) -> Any:
            self.launched += each
            return graph.forward(*args)

        return called


def _written(network: nn.Module) -> _Outside:
    frame = torch.empty(1, 1, _SIDE, _SIDE, device="meta")
    with torch.no_grad():
        network(frame, frame, frame)
        with _Outside() as capture:
            network(frame, frame, frame)
    return capture


def _compiled(network: Generator) -> int:
    generator = torch.Generator().manual_seed(0)
    weight = (torch.rand(1, 1, _SIDE, _SIDE, generator=generator) < 0.05).float()
    turn = torch.arange(float(_SIDE)) * 0.7
    frame = weight * (turn.cos() + turn[:, None].cos())  # a lattice, which is solved for at full size too
    kernels = _Kernels()
    with torch.inference_mode():
        start = spectral_start(frame, weight)
        with fusing(kernels):
            network(frame, weight, weight)
            kernels.launched = 0
            network(frame, weight, weight)
            within = kernels.launched
            kernels.launched = 0  # planes, which a processor makes in another way
            _planes_by_few_kernels(weight, weight, start, True, _least_energy(weight.device))
    return within + kernels.launched * (1 if network.first is None else 2)


def run() -> dict[str, Any]:
    """Print and return the launches of ``lite`` and ``live``."""
    found = {}
    for preset in ("lite", "live"):
        with torch.device("meta"):
            written = _written(Generator(PRESETS[preset]).eval())
        within = _compiled(Generator(PRESETS[preset]).eval())
        found[preset] = {
            "written": written.launches,
            "outside_chains": written.outside,
            "compiled": written.outside + within,
        }
        print(
            f"{preset}: {written.launches} as written, {written.outside} of them outside chains; "
            f"{written.outside + within} with chains compiled"
        )
    return found
