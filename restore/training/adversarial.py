"""The adversarial half of a step: the discriminators' own optimisation, and what they add to the generator's loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from restore.training.checkpoint import optimiser_tensors, restore_optimiser
from restore.training.discriminators import Adversary, adversarial_loss, discriminator_loss
from restore.training.drawing import Batch
from restore.training.losses import LossConfig

__all__ = ["AdversarialTraining"]


class AdversarialTraining:
    """Three discriminators with one ADAM each, stepped once for each generator step."""

    def __init__(
        self,
        config: LossConfig,
        conditional: bool,
        learning_rate: float,
        betas: tuple[float, float],
        device: torch.device,
        average_gradients: Callable[[Tensor], Tensor] | None,
    ) -> None:
        if config.adversarial == "off":
            raise ValueError("there is no adversarial loss to train with")
        self.config, self.kind = config, config.adversarial
        self.adversary = Adversary(conditional).to(device)
        self.optimisers = [
            torch.optim.Adam(scale.parameters(), learning_rate, betas) for scale in self.adversary.scales
        ]
        self.average = average_gradients

    def step(self, frame: Tensor, batch: Batch, seed: int) -> Tensor:
        """Update the discriminators on this batch, then return λ·Σ of the generator's terms against them.

        ``frame`` (batch, 1, rows, cols) is the restoration on [0, 1], with its graph. Crops differ between the two
        uses; both are drawn from ``seed``.
        """
        real, restored = 2 * batch.truth - 1, 2 * frame - 1
        condition = torch.cat([batch.mean, batch.weight], 1)
        draw = torch.Generator().manual_seed(seed)
        penalise = self.config.r1_weight > 0
        self.adversary.train().requires_grad_(True)
        total = real.new_zeros(())
        for scores in self.adversary(real, restored.detach(), condition, draw, penalise):
            total = total + discriminator_loss(scores.real, scores.restored, self.kind)
            if scores.penalty is not None:
                total = total + 0.5 * self.config.r1_weight * scores.penalty
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        total.backward()
        if self.average is not None:
            for parameter in self.adversary.parameters():
                if parameter.grad is not None:
                    parameter.grad.copy_(self.average(parameter.grad))
        for optimiser in self.optimisers:
            optimiser.step()
        # The generator must not move the discriminators, nor their running singular vectors.
        self.adversary.eval().requires_grad_(False)
        terms = [
            adversarial_loss(scores.real, scores.restored, self.kind)
            for scores in self.adversary(real, restored, condition, draw)
        ]
        return self.config.adversarial_weight * torch.stack(terms).sum()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Checkpoint parts."""
        parts = {"adversary": self.adversary.state_dict()}
        for number, optimiser in enumerate(self.optimisers):
            parts[f"adversary_optimiser_{number}"] = optimiser_tensors(optimiser)
        return parts

    def restore(self, parts: dict[str, dict[str, Tensor]]) -> None:
        """Put back; discriminators that were not part of the run before start afresh."""
        if "adversary" not in parts:
            return
        self.adversary.load_state_dict(parts["adversary"])
        for number, optimiser in enumerate(self.optimisers):
            restore_optimiser(optimiser, parts.get(f"adversary_optimiser_{number}", {}))
