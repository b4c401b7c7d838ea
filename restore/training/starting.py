"""Begin a run with weights that are already good: another run's average, or a file that ships."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from restore.training.checkpoint import CHECKPOINT, fit, load_checkpoint
from restore.weights_io import load_weights
from scancontrol.errors import InvalidInput

__all__ = ["start_from"]


def start_from(network: nn.Module, source: Path) -> None:
    """Load ``source``, a run's folder or a weights file. A weights file leaves the trainer head as it is.

    Raises:
        InvalidInput: there are no such weights, or they are another network's.
    """
    if source.is_dir():
        parts, _ = load_checkpoint(source / CHECKPOINT)
        fit(network, parts["average"], source)
        return
    loaded = load_weights(source).network.state_dict()
    own = network.state_dict()
    if loaded.keys() != own.keys() or any(loaded[name].shape != own[name].shape for name in own):
        raise InvalidInput("start_from", source, "holds another network's weights", "name weights of this preset")
    network.load_state_dict({n: own[n] if n.startswith("trainer.") else v for n, v in loaded.items()})
