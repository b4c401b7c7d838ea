"""What goes to a device and comes from it, beside what it computes: two frames are then under way at a time.

On a GPU samples leave from pinned memory and are gridded on a stream of their own, and pictures come back on another,
while a third computes the frame between them (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-streams). A
processor does one thing after another, through the same calls.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["CardFeeder", "Coming", "Feeder", "Moment", "feeder_of"]


class Moment:
    """When all that a device was told so far, on the stream of now, will have been done; on a processor, at once."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    @property
    def past(self) -> bool:
        """Whether it has been; nothing waits."""
        return self._event is None or self._event.query()

    def wait(self) -> None:
        """Let this thread wait for it."""
        if self._event is not None:
            self._event.synchronize()

    def before(self, stream: torch.cuda.Stream) -> None:
        """Let what ``stream`` is told from here on wait for it; this thread does not."""
        if self._event is not None:
            stream.wait_event(self._event)


class Coming:
    """Tensors on their way to the host, into pinned memory; this thread goes on meanwhile."""

    def __init__(self, *tensors: Tensor) -> None:
        # PyTorch keeps pinned blocks, and gives one anew only when the copies that used it are done.
        self._source = tensors  # not let go before they are copied
        self._here = [self._sent(tensor) for tensor in tensors]
        self._arrived = Moment(tensors[0].device)

    @staticmethod
    def _sent(tensor: Tensor) -> Tensor:
        if tensor.device.type != "cuda":
            return tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)

    def here(self) -> list[Tensor]:
        """The tensors on the host, once they have come."""
        self._arrived.wait()
        return self._here


class Feeder:
    """Sends to a processor: everything is there at once.

    Attributes:
        under_way: batches that are worth having under way at a time.
    """

    under_way = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, values: Tensor) -> Tensor:
        """Values of the host, on the device; nobody changes them afterwards."""
        return values.to(self.device)

    def entering(self) -> AbstractContextManager[object]:
        """Where frames are prepared while others are computed."""
        return nullcontext()

    def leaving(self, computed: Moment) -> AbstractContextManager[object]:
        """Where what was ``computed`` is brought back while others are computed."""
        del computed
        return nullcontext()

    def now(self) -> Moment:
        """The moment until which all of the stream of now is done."""
        return Moment(self.device)

    def after(self, entered: Moment) -> None:
        """Compute from here on only when what ``entered`` is there."""


class CardFeeder(Feeder):
    """Sends to a GPU, on streams of their own."""

    under_way = 2

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._inward, self._outward = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def send(self, values: Tensor) -> Tensor:
        return values.pin_memory().to(self.device, non_blocking=True)

    def entering(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._inward)

    def leaving(self, computed: Moment) -> AbstractContextManager[object]:
        computed.before(self._outward)
        return torch.cuda.stream(self._outward)

    def after(self, entered: Moment) -> None:
        entered.before(torch.cuda.current_stream(self.device))


def feeder_of(device: torch.device) -> Feeder:
    """The one that suits a device."""
    return CardFeeder(device) if device.type == "cuda" else Feeder(device)
