"""The networks of ``lite`` in int8, by OpenVINO, beside torch: how long they take, and what that does to the error.

pip install openvino nncf; python -m benchmarks.offline.int8 [--draws 24] [--float head|inner|outer] [SPECIMEN ...]

Quantised after training on training draws at 3 to 1,000 electrons a sample; judged on specimens of other seeds at 60,
without a lattice taken off them. Times are processor times of one thread, the least of some calls that take turns.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from restore.estimate.process import STATISTICS, SpectralStart, spectral_start
from restore.generator.generator import Generator, consistent
from restore.generator.planes import network_planes
from restore.generator.running import Ready, ready_for
from restore.generator.subnetworks import conditions_of
from restore.generator.weights import load_weights, shipped
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from simulators.specimens.truths.draws import draw, named

_SIDE, _CALLS, _ELECTRONS = 512, 6, 60.0
_SPECIMENS = ("square-12px", "two_species-7px", "particles", "film", "two_grains-12px")
_FLOAT = {"head": ("head", "stem"), "inner": ("inner",), "outer": ("outer",)}


class Both(nn.Module):
    """Both networks as one: planes of the start and conditions in, correction and log scale out."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.inner, self.outer = network.inner, network.outer

    def forward(self, half: Tensor, full: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        correction, log_scale, _ = self.outer(full, self.inner(half, conditions))
        return correction, log_scale


class Given(NamedTuple):
    """What the networks are given of a frame, and what their answer is judged by."""

    planes: tuple[Tensor, Tensor, Tensor]
    ready: Ready
    start: SpectralStart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specimens", nargs="*", default=_SPECIMENS, metavar="SPECIMEN")
    parser.add_argument("--draws", type=int, default=24, help="training draws that the ranges are taken from")
    parser.add_argument(
        "--float", choices=_FLOAT, help="what stays in float32: the first and last layers, or a network"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_weights(shipped("lite"), "cpu").network.eval()
    network.compute_in(torch.float32)
    patterns = [kind(coverage=CoverageGoal(value=1 / n)) for kind in (Archimedean, JitteredGrid) for n in (20, 100)]
    geometries = [
        FrameGeometry.from_path(expand(PathRecipe(pattern=p, shape=(_SIDE, _SIDE), fov_nm=1.0, dwell_us=1.0)))
        for p in patterns
    ]
    random = np.random.default_rng(123)
    drawn = []
    for number in range(options.draws):
        image, electrons = draw(None, (_SIDE, _SIDE), random).image, 10 ** random.uniform(0.5, 3)
        drawn.append(_given(network, image, geometries[number % 4], electrons, random))
    exact, quantised = _models(network, [given.planes for given in drawn], _FLOAT.get(options.float, ()))
    _times(network, drawn[0].planes, exact, quantised)
    print("error in float32, % (its change by int8, % of itself): spiral 1/20, 1/100, jittered grid 1/20, 1/100")
    random, worst = np.random.default_rng(7), -np.inf
    for name in options.specimens:
        truth, cells = named(name, (_SIDE, _SIDE)).image, []
        for geometry in geometries:
            given = _given(network, truth, geometry, _ELECTRONS, random)
            one, other = (_error(given, model, truth) for model in (exact, quantised))
            worst = max(worst, 100 * (other / one - 1))
            cells.append(f"{100 * one:.2f} ({100 * (other / one - 1):+.2f})")
        print(f"{name:>20} " + " ".join(f"{cell:>15}" for cell in cells), flush=True)
    print(f"the worst moves by {worst:+.2f} %")
    return 0


@torch.no_grad()
def _given(
    network: Generator, truth: np.ndarray, geometry: FrameGeometry, electrons: float, random: np.random.Generator
) -> Given:
    values = torch.from_numpy(np.ascontiguousarray(truth)).float().flatten()[geometry.index]
    noise = torch.from_numpy(random.normal(size=len(values))).float()
    ready = ready_for(values + (values.clamp_min(0.02) / electrons).sqrt() * noise, geometry)
    mean, weight, distance, stated = ready.planes
    config = network.config
    start = spectral_start(mean, weight, float(_SIDE**2), config.spectral_iterations, config.full_iterations)
    half, full = network_planes(weight, distance, start)
    return Given((half.contiguous(), full.contiguous(), conditions_of(start.statistics, stated)), ready, start)


def _models(network: Generator, draws: list[tuple[Tensor, ...]], in_float: tuple[str, ...]) -> tuple[Any, Any]:
    """Both networks compiled in float32 and in int8."""
    import nncf  # neither is installed with this project
    import openvino

    shapes = [tensor.shape for tensor in draws[0]]
    with torch.no_grad():
        both = Both(network)
        both(*draws[0])  # makes the constants that it keeps
        model = openvino.convert_model(both, example_input=draws[0], input=shapes)
    layers = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    ignored = [layer for layer in layers if any(part in layer for part in in_float)]
    smaller = nncf.quantize(
        model,
        nncf.Dataset(draws, lambda planes: [plane.numpy() for plane in planes]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(draws),
        ignored_scope=nncf.IgnoredScope(names=ignored) if ignored else None,
    )
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    return core.compile_model(model, "CPU", settings), core.compile_model(smaller, "CPU", settings)


def _error(given: Given, model: Any, truth: np.ndarray) -> float:
    correction = torch.from_numpy(model([plane.numpy() for plane in given.planes])[0])
    spread = (0.5 * given.start.statistics[:, STATISTICS.index("log noise")]).exp()
    frame = consistent(given.start.full + correction, *given.ready.planes[:2], spread)
    return float(np.square(given.ready.normalisation.invert(frame)[0, 0].numpy() - truth).mean() ** 0.5)


@torch.inference_mode()
def _times(network: Generator, planes: tuple[Tensor, Tensor, Tensor], exact: Any, quantised: Any) -> None:
    half, full = (plane.contiguous(memory_format=torch.channels_last) for plane in planes[:2])
    arrays, both, lower = [plane.numpy() for plane in planes], Both(network), Both(copy.deepcopy(network))
    lower.bfloat16().inner.condition.float()
    calls: dict[str, Callable[[], object]] = {
        "torch float32": lambda: both(half, full, planes[2]),
        "torch bfloat16": lambda: lower(half.bfloat16(), full.bfloat16(), planes[2]),
        "OpenVINO float32": lambda: exact(arrays),
        "OpenVINO int8": lambda: quantised(arrays),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_CALLS):
        for name, call in calls.items():
            began = time.process_time()
            call()
            taken[name].append(1e3 * (time.process_time() - began))
    print(", ".join(f"{name} {min(times):.1f} ms" for name, times in taken.items()), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
