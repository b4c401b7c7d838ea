"""One run in several processes (``torchrun``): what they average, and what the first of them decides for all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Processes"]


class Processes:
    """This process among those of a run. Everything here is called by all of them, in the same order."""

    def __init__(self, rank: int, world: int, device: torch.device) -> None:
        self.rank, self.world, self.device = rank, world, device

    def together(self, network: nn.Module, loss: Callable[[], Tensor]) -> nn.Module:
        """The network with gradients averaged over all processes.

        Args:
            loss: of one frame; shows whether it reaches everything that moves, as looking for the rest costs time in
                every step.
        """
        if self.world == 1:
            return network
        loss().backward()
        left_out = any(parameter.grad is None for parameter in network.parameters() if parameter.requires_grad)
        network.zero_grad(set_to_none=True)
        return nn.parallel.DistributedDataParallel(network, find_unused_parameters=left_out)

    def mean(self) -> Callable[[Tensor], Tensor] | None:
        """What averages a scalar over the processes; None for one."""
        if self.world == 1:
            return None

        def mean(value: Tensor) -> Tensor:
            shared = value.detach().clone()
            torch.distributed.all_reduce(shared)
            return shared / self.world

        return mean

    def agreed(self, minutes: float, ending: bool) -> tuple[float, bool]:
        """Minutes of training by the first process's clock, and whether any process has to end.

        Clocks differ, and a step that only some processes take leaves the others waiting for ever; learning rates that
        differ let their weights drift apart.
        """
        if self.world == 1:
            return minutes, ending
        said = torch.tensor([minutes if self.rank == 0 else 0.0, float(ending)], dtype=torch.float64)
        said = said.to(self.device)
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
        agreed, any_ending = said.tolist()
        return agreed, any_ending > 0
