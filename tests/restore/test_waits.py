"""How often a frame waits for its device: once, for what its withheld samples say; then its pictures are copied.

Told on the processor, by a dispatch mode that notes every read of a value by the host. Judging comes before anything is
on the device, and questions to what was brought back wait for nothing.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import restore
from restore.engine import Engine
from restore.generator.recorded import Recorded
from restore.generator.resident import Resident
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import load_weights, shipped
from restore.restorer import trial_samples
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, expand

OURS = Path(restore.__file__).parent
READS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero")
JUDGING = ("judge", "look", "delay_of")  # of readings that are on the processor, before anything is sent
BROUGHT_BACK = {"rms", "carried_over", "missed_share", "conformal_quantile"}
ONLY_ON_A_PROCESSOR = {"grid", "_at_full_size"}


class Reads(TorchDispatchMode):
    """Notes who of this project reads values on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.by: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().split(".")[0] in READS:
            ours = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(OURS)]
            if not any(frame.name in JUDGING for frame in ours):
                self.by.append(ours[-1].name)
        return func(*args, **(kwargs or {}))


def test_a_frame_waits_once_for_its_device_before_its_pictures_come_and_never_for_a_recording() -> None:
    path = expand(
        PathRecipe(pattern=Archimedean(coverage=CoverageGoal(value=0.1)), shape=(96, 96), fov_nm=96.0, dwell_us=1.0)
    )
    weights = load_weights(shipped("lite"), "cpu")
    restorer = GeneratorRestorer(weights)
    restorer._network = Resident(weights.network, "single", recorded=True)  # as on a GPU
    engine = Engine(restorer)
    engine.register(path)
    samples = trial_samples(engine.path(path.path_id).geometry).numpy()
    recorded, kept = Counter[torch.Size](), Recorded.__init__

    def noted(self: Recorded, *given: Any, **named: Any) -> None:
        recorded[given[1].shape] += 1
        kept(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "__init__", noted)
        engine.restore(samples, path.path_id)
        engine.restore(samples[: len(samples) // 2], path.path_id)
    assert not recorded, "that was done when the path was registered"
    with Reads() as reads:
        engine.restore(samples, path.path_id)
    assert [name for name in reads.by if name not in BROUGHT_BACK | ONLY_ON_A_PROCESSOR] == ["told"]
