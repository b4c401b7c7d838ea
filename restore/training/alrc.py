"""Adaptive learning rate clipping of outlier losses, exactly as Algorithm 1 of the poster, and as its author's code.

References: Ede & Beanland 2020, Mach. Learn.: Sci. Technol. 1 015011, https://arxiv.org/abs/1906.09060
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["ALRC", "huberise"]


def huberise(loss: Tensor) -> Tensor:
    """x for x ≤ 1, √x above: the author's "Huberisation" of a scalar loss (``ede2020`` preset, both places)."""
    return torch.where(loss > 1, loss.clamp_min(1e-12).sqrt(), loss)


class ALRC(nn.Module):
    """Scales down the gradient of losses more than ``sigmas`` standard deviations above their running mean.

    ``variant="paper"`` updates the moments with the raw loss L (Algorithm 1); ``variant="code"`` with the clipped
    loss min(L, L_max), which forgets outliers and so keeps the threshold lower after a burst of them.

    Args:
        mean: initial first moment μ₁. mean_square: initial second raw moment μ₂.
        decay: (β₁, β₂) of the two moments. sigmas: n.
    """

    def __init__(
        self,
        mean: float = 25.0,
        mean_square: float = 900.0,
        decay: tuple[float, float] = (0.999, 0.999),
        sigmas: float = 3.0,
        variant: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        self.decay, self.sigmas, self.variant = decay, sigmas, variant
        self.mean: Tensor
        self.mean_square: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("mean_square", torch.tensor(mean_square, dtype=torch.float64))

    def extra_repr(self) -> str:
        return f"sigmas={self.sigmas}, decay={self.decay}, variant={self.variant}"

    @property
    def limit(self) -> Tensor:
        """L_max = μ₁ + n (μ₂ − μ₁²)^½."""
        return self.mean + self.sigmas * (self.mean_square - self.mean.square()).clamp_min(1e-8).sqrt()

    def forward(self, loss: Tensor, shared: Tensor | None = None) -> Tensor:
        """The dynamic loss L_dyn of a scalar ``loss``; in training mode the moments take one step.

        ``shared`` is the loss averaged over all processes of a distributed run, on which the decision rests so
        that every process takes the same one; the loss itself where there is only one process.
        """
        decided = (loss if shared is None else shared).detach().double()
        limit = self.limit
        scale = torch.where(decided > limit, limit / decided.clamp_min(1e-30), 1.0)
        if self.training and bool(torch.isfinite(decided)):
            seen = decided if self.variant == "paper" else decided * scale
            self.mean.lerp_(seen, 1 - self.decay[0])
            self.mean_square.lerp_(seen.square(), 1 - self.decay[1])
        return loss * scale.to(loss.dtype)
