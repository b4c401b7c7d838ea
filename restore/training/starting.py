"""Begin a run with weights that are already good: another run's average, or a file that ships."""

from __future__ import annotations

from pathlib import Path

import msgspec
from torch import Tensor, nn

from restore.generator.generator import Generator
from restore.generator.networks import NetworkConfig
from restore.generator.presets import GeneratorConfig
from restore.generator.weights import load_weights, shipped, shipped_names
from restore.training.checkpoint import CHECKPOINT, fit, load_checkpoint
from restore.training.config import TrainConfig
from restore.training.growing import grown, is_larger
from scancontrol.errors import InvalidInput

__all__ = ["start_from"]


def start_from(network: nn.Module, source: Path) -> None:
    """Load ``source``: a run's folder, a weights file, or the name of shipped weights.

    A smaller generator's weights are grown to this one's size.

    A weights file leaves the trainer head as it is, and a faithful network the strengths of a realistic one's texture.
    A generator with first networks takes those of the source's size from it, too.

    Raises:
        InvalidInput: there are no such weights, or they are another network's.
    """
    loaded, config = _read(source)
    if isinstance(network, Generator) and isinstance(config, GeneratorConfig) and is_larger(network.config, config):
        first, as_it_is = network.config.first, loaded
        loaded = grown(network, loaded, config.widths)
        if first is not None and config.first is None:
            if not (is_larger(first, config) and is_larger(config, first)):
                raise InvalidInput("start_from", source, "is not of the first networks' size", "name weights that are")
            loaded |= {f"first.{name}": value for name, value in as_it_is.items() if not name.startswith("trainer.")}
            for name in ("outer.head.weight", "outer.head.bias"):  # the start has had that correction
                loaded[name][: len(loaded[name]) // 2] = 0.0
    own = network.state_dict()
    free = {name: value for name, value in own.items() if name.startswith(("trainer.", "outer.texture."))}
    fit(network, free | loaded, source)


def _read(source: Path) -> tuple[dict[str, Tensor], NetworkConfig]:
    if str(source) in shipped_names():
        source = shipped(str(source))
    if source.is_dir():
        parts, notes = load_checkpoint(source / CHECKPOINT)
        return parts["average"], msgspec.convert(notes["config"], TrainConfig).network
    weights = load_weights(source)
    state = weights.network.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("trainer.")}, weights.network.config
