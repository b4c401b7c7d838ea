"""Make a larger generator say exactly what a smaller one says, to go on training it from there.

What is new adds nothing at first: more channels read what is there and are read with weights of zero, more blocks begin
as the identity (Chen, Goodfellow & Shlens 2016, Net2Net, https://arxiv.org/abs/1511.05641).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from restore.generator.generator import Generator
from restore.generator.presets import GeneratorConfig

__all__ = ["grown", "is_larger"]

_FILMS = "inner.condition.2."  # scale and shift of every level's features, level after level


def is_larger(config: GeneratorConfig, small: GeneratorConfig) -> bool:
    """Whether a network of ``config`` can hold one of ``small``: as many levels, no fewer channels or blocks."""
    pairs = [
        *zip(config.widths, small.widths, strict=False),
        *zip(config.inner_blocks, small.inner_blocks, strict=False),
        (config.outer_blocks, small.outer_blocks),
    ]
    alike = config.extra_residuals == small.extra_residuals and config.path_information == small.path_information
    alike = alike and config.texture >= small.texture and len(config.widths) == len(small.widths)
    return alike and small.first in (None, config.first) and all(a >= b for a, b in pairs)


@torch.no_grad()
def grown(network: Generator, small: Mapping[str, Tensor], widths: tuple[int, ...]) -> dict[str, Tensor]:
    """The state of ``network``, freshly made, holding the tensors of a smaller one of ``widths``.

    With the same spectral start both restore the same frame, up to rounding.
    """
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name, value in small.items():
        if name.startswith(_FILMS):
            _place_films(state[name], value, network.config.widths, widths)
        elif name in state:
            own = state[name]
            if own.dim() > 1:
                own[: value.shape[0], value.shape[1] :] = 0.0  # what was there does not read what is new
            own[tuple(slice(n) for n in value.shape)] = value
    return state


def _place_films(own: Tensor, value: Tensor, widths: tuple[int, ...], small: tuple[int, ...]) -> None:
    """A block of scales and one of shifts for each level; those of new channels stay as they began."""
    to, source = 0, 0
    for width, few in zip(widths, small, strict=True):
        for _ in ("scale", "shift"):
            own[to : to + few] = value[source : source + few]
            to, source = to + width, source + few
