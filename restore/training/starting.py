"""Begin a run with weights that are already good: another run's average, or a file that ships."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from restore.training.checkpoint import CHECKPOINT, fit, load_checkpoint
from restore.weights_io import load_weights

__all__ = ["start_from"]


def start_from(network: nn.Module, source: Path) -> None:
    """Load ``source``, a run's folder or a weights file.

    A weights file leaves the trainer head as it is, and a faithful network the strengths of a realistic one's texture.

    Raises:
        InvalidInput: there are no such weights, or they are another network's.
    """
    if source.is_dir():
        parts, _ = load_checkpoint(source / CHECKPOINT)
        loaded = parts["average"]
    else:
        found = load_weights(source).network.state_dict()
        loaded = {name: value for name, value in found.items() if not name.startswith("trainer.")}
    own = network.state_dict()
    free = {name: value for name, value in own.items() if name.startswith(("trainer.", "outer.texture."))}
    fit(network, free | loaded, source)
