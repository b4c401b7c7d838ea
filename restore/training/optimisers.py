"""The poster's optimisers by name."""

from __future__ import annotations

import torch
from torch import nn

from restore.training.config import OptimiserConfig

__all__ = ["make_optimiser"]


def make_optimiser(config: OptimiserConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the configuration names."""
    rate, decay = config.learning_rate, config.weight_decay
    match config.kind:
        case "adam":
            return torch.optim.Adam(parameters, rate, config.betas, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, config.betas, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, momentum=config.momentum, weight_decay=decay)
        case "nesterov":
            return torch.optim.SGD(parameters, rate, config.momentum, weight_decay=decay, nesterov=True)
        case "momentum":
            return torch.optim.SGD(parameters, rate, config.momentum, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(parameters, rate, weight_decay=decay)
