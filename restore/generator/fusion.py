"""The same network recorded with its chains of operations compiled: kept where it is faster and says the same.

Nothing of a compiler is relied on. If there is none, if it fails, if what it made is slower or says something else, the
network stays recorded as it is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from restore.estimate.fused import fusing
from restore.generator.generator import Estimate
from restore.generator.recorded import Recorded

__all__ = ["Fusion"]

log = logging.getLogger(__name__)

_TRIALS = 5
_CLOSE = 0.01  # of the frame's root mean square: what half precision rounds in another order


class Fusion:
    """Records networks a second time, with chains compiled, until that fails for the first time.

    Args:
        backend: of ``torch.compile``.
        clock: seconds.
    """

    def __init__(self, backend: str = "inductor", clock: Callable[[], float] = time.perf_counter) -> None:
        self._backend, self._clock = backend, clock
        self.works = True

    def better(
        self, plain: Recorded[Estimate], network: Callable[..., Estimate], *given: Tensor, pool: Any = None
    ) -> Recorded[Estimate]:
        """``plain``, or the network recorded with chains compiled, whichever is faster on what is given.

        Args:
            plain: the network as it was recorded with what is given, and with this pool.

        Raises:
            torch.OutOfMemoryError: the device has no memory for it.
        """
        if not self.works:
            return plain
        try:
            fused = Recorded(partial(self._fused, network), *given, pool=pool)
            expected, found = plain(*given).frame.clone(), fused(*given).frame
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler comes upon
            self.works = False
            reason = str(error).strip().partition("\n")[0]
            log.warning("operations are not compiled to fewer kernels here, and run as they are: %s", reason)
            return plain
        off = (found - expected).square().mean().sqrt()
        if not bool(off <= _CLOSE * expected.square().mean().sqrt()):
            self.works = False
            log.warning("compiled operations say something else, by %.2g: they run as they are", float(off))
            return plain
        times = {made: self._seconds(made, given) for made in (plain, fused)}
        log.info("a frame takes %.2f ms, %.2f ms with operations compiled", 1e3 * times[plain], 1e3 * times[fused])
        return min((plain, fused), key=times.__getitem__)

    def _fused(self, network: Callable[..., Estimate], *given: Tensor) -> Estimate:
        with fusing(self._backend):
            return network(*given)

    def _seconds(self, recorded: Recorded[Estimate], given: tuple[Tensor, ...]) -> float:
        taken = []
        for _ in range(_TRIALS):
            began = self._clock()
            recorded(*given)
            if given[0].device.type == "cuda":
                torch.cuda.synchronize(given[0].device)
            taken.append(self._clock() - began)
        return min(taken)
