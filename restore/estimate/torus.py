"""The torus that the spectral start computes on: its margins, and its lags."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.fills.variogram import fast_size

__all__ = ["MARGIN", "Torus", "lag_window", "lags", "taper"]

MARGIN = 16  # half-size pixels between the frame and its periodic copies, on each side


class Torus:
    """Where a frame (rows, cols) lies on its torus, of a size whose FFT is fast."""

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.height, self.width = fast_size(rows + 2 * MARGIN), fast_size(cols + 2 * MARGIN)

    def around(self, frame: Tensor) -> Tensor:
        """The frame (batch, rows, cols) with nothing around it, (batch, height, width)."""
        right, below = self.width - MARGIN - self.cols, self.height - MARGIN - self.rows
        return F.pad(frame, (MARGIN, right, MARGIN, below))

    def faded(self, frame: Tensor) -> Tensor:
        """The frame (batch, rows, cols) falling to 0 over the margins, (batch, height, width)."""
        right, below = self.width - MARGIN - self.cols, self.height - MARGIN - self.rows
        return F.pad(frame, (MARGIN, right, MARGIN, below), mode="replicate") * self.taper(frame.device)

    def inside(self, field: Tensor) -> Tensor:
        """The frame's part of a field (batch, height, width), (batch, rows, cols)."""
        return field.narrow(-2, MARGIN, self.rows).narrow(-1, MARGIN, self.cols)

    def taper(self, device: torch.device) -> Tensor:
        """1 on the frame, falling to 0 over the margins, (height, width)."""
        return taper(self.rows, self.cols, self.height, self.width, device)


@lru_cache(maxsize=32)
def lags(h: int, w: int, device: torch.device) -> Tensor:
    """Squared length in cells of each lag of an (h, w) torus, (h, w)."""
    y, x = torch.fft.fftfreq(h, 1 / h, device=device)[:, None], torch.fft.fftfreq(w, 1 / w, device=device)
    return y.square() + x.square()


@lru_cache(maxsize=32)
def lag_window(h: int, w: int, device: torch.device) -> Tensor:
    """Gaussian over the lags of an (h, w) torus: products of few or folded pairs stay out of the spectrum."""
    y = torch.fft.fftfreq(h, device=device)[:, None]
    x = torch.fft.fftfreq(w, device=device)[None]
    return torch.exp(-0.5 * (y.square() + x.square()) / 0.12**2)


@lru_cache(maxsize=32)
def taper(h: int, w: int, height: int, width: int, device: torch.device) -> Tensor:
    """1 on the frame, falling to 0 over the margins, so that a fill does not jump where the torus closes."""

    def ramp(inner: int, outer: int) -> Tensor:
        line = torch.zeros(outer, device=device)
        rise = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(MARGIN, device=device) + 0.5) / MARGIN)
        line[:MARGIN], line[MARGIN : MARGIN + inner] = rise, 1.0
        line[MARGIN + inner : 2 * MARGIN + inner] = rise.flip(0)
        return line

    return ramp(h, height)[:, None] * ramp(w, width)
