"""The configuration of a training run: one YAML file, strictly read; every experiment of the poster is one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec

from restore.generator.networks import NetworkConfig, network_config
from restore.generator.presets import GeneratorConfig
from restore.generator.weights import shipped_names
from restore.training.drawing import DrawConfig
from restore.training.losses import LossConfig
from restore.training.replay import ReplayConfig
from scancontrol.errors import InvalidInput
from scancontrol.files import beside, load_yaml

__all__ = ["Crop", "OptimiserConfig", "ScheduleConfig", "TrainConfig", "load_config"]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Crop(_Strict, frozen=True, kw_only=True):
    """A crop size in pixels, how many of them make a batch (over all processes), and how often it is drawn."""

    size: int = 256
    batch: int = 8
    share: float = 1.0


class OptimiserConfig(_Strict, frozen=True, kw_only=True):
    """One of the poster's optimisers. ``betas`` are ADAM's; ``momentum`` is RMSProp's, Nesterov's and momentum's."""

    kind: Literal["adam", "adamw", "rmsprop", "nesterov", "momentum", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_gradient: float | None = 20.0  # norm


class ScheduleConfig(_Strict, frozen=True, kw_only=True):
    """How the learning rate goes.

    ``constant``; ``cosine`` to zero; ``cooldown`` is constant, then linear to zero over the last ``cooldown_share``;
    ``ede2020`` is the author's: 3× the rate for a quarter of the steps, eight linear steps down to 3/8× in the next
    quarter, then 1× for a quarter and eight steps down to 1/8×. Either half of it is a run of its own: from
    ``first_step`` to ``last_step`` of its ``steps``.

    With ``minutes`` the run's length is counted in minutes of training, whatever the machine does in them; ``steps``
    is then only an upper limit, and two runs are alike only if their machines are.
    """

    kind: Literal["constant", "cosine", "cooldown", "ede2020"] = "cooldown"
    steps: int = 10_000
    minutes: float | None = None
    warmup_steps: int = 200
    cooldown_share: float = 0.25
    first_step: int = 0
    last_step: int | None = None

    def __post_init__(self) -> None:
        last = self.steps if self.last_step is None else self.last_step
        if not 0 <= self.first_step < last <= self.steps:
            raise InvalidInput(
                "schedule.last_step",
                f"{self.first_step} to {last}",
                f"are no part of {self.steps} steps",
                "give 0 ≤ first_step < last_step ≤ steps",
            )

    def is_over(self, step: int, minutes: float) -> bool:
        """Whether a run has had its steps, or its minutes where they are given."""
        last = self.steps if self.last_step is None else self.last_step
        return step + self.first_step >= last or (self.minutes is not None and minutes >= self.minutes)

    def factor(self, step: int, minutes: float = 0.0) -> float:
        """What the learning rate is multiplied with at this step, after so many minutes."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps)) if self.kind != "ede2020" else 1.0
        done = (step + self.first_step) / max(1, self.steps) if self.minutes is None else minutes / self.minutes
        done = min(1.0, done)
        if self.kind == "constant":
            return warm
        if self.kind == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "cooldown":
            return warm * max(0.0, min(1.0, (1 - done) / max(1e-9, self.cooldown_share)))
        base, half = (3.0, done * 2) if done < 0.5 else (1.0, done * 2 - 1)
        if half < 0.5:
            return base
        return base * (1 - min(7, int((half - 0.5) * 16)) / 8)


class TrainConfig(_Strict, frozen=True, kw_only=True):
    """Everything about a run but where it runs.

    Attributes:
        images: folder or manifest; split: the manifest's rows to use.
        holdout_groups: specimen groups that are watched and calibrated on, never trained on.
        holdout_share: of the groups to hold out where none are named; ``restore.train`` picks them once.
        group_exponent: about size**exponent images of a group make an epoch; see ``epoch_order``.
        simulated_images: how many simulated specimens are mixed in, in seven groups by kind; their share of an epoch
            follows from their number and ``group_exponent``.
        generator: a preset's name, or sizes with ``kind: spectral`` or ``kind: ede2020``.
        trains: which networks move. The poster's two-stage training is a run with ``[inner, trainer]``, one with
            ``[outer]`` and one with all three (fine-tuning), each ``start_from`` the last; trainer-guided training
            is one run with all three.
        start_from: name of shipped weights, run folder whose averaged weights, or weights file, to begin with.
        conditional_discriminators: whether they see the fill and the path.
        average_decay: of the averaged weights, per step.
        mixed_precision: bfloat16 where it is safe; ``auto`` if the device multiplies it faster than single precision.
    """

    images: str = "micrographs"
    split: str | None = "train"
    holdout_groups: tuple[str, ...] = ()
    holdout_share: float = 0.0
    group_exponent: float = 0.6
    simulated_images: int = 0
    generator: str | NetworkConfig = "lite"
    trains: tuple[Literal["inner", "trainer", "outer"], ...] = ("inner", "trainer", "outer")
    start_from: str | None = None
    draw: DrawConfig = msgspec.field(default_factory=DrawConfig)
    crops: tuple[Crop, ...] = (Crop(),)
    loss: LossConfig = msgspec.field(default_factory=LossConfig)
    optimiser: OptimiserConfig = msgspec.field(default_factory=OptimiserConfig)
    conditional_discriminators: bool = True
    discriminator_learning_rate: float = 1e-4
    schedule: ScheduleConfig = msgspec.field(default_factory=ScheduleConfig)
    replay: ReplayConfig = msgspec.field(default_factory=ReplayConfig)
    average_decay: float = 0.999
    mixed_precision: bool | Literal["auto"] = False
    channels_last: bool = True
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 10.0
    seed: int = 0
    out: str = "runs/train"

    def __post_init__(self) -> None:
        ede = not isinstance(self.network, GeneratorConfig)
        step = 32 if ede else 16
        if not self.crops or sum(c.share for c in self.crops) <= 0:
            raise InvalidInput("crops", len(self.crops), "have no share at all", "give one crop size a share > 0")
        for crop in self.crops:
            if crop.size < 64 or crop.size % step or crop.batch < 1 or crop.share < 0:
                raise InvalidInput(
                    "crops", crop, f"is no batch of a multiple of {step} px from 64 on", "use 128, 256, 384 or 512"
                )
        if not 0 <= self.holdout_share < 1:
            raise InvalidInput("holdout_share", self.holdout_share, "is no share", "give 0 to below 1, such as 0.2")
        if self.simulated_images < 0:
            raise InvalidInput("simulated_images", self.simulated_images, "is below 0", "give a number of images")
        if not self.trains:
            raise InvalidInput("trains", self.trains, "names no network", "name inner, trainer or outer")
        if set(self.trains) == {"trainer"} or ("trainer" in self.trains and not self.loss.trainer_weight):
            raise InvalidInput(
                "loss.trainer_weight",
                self.loss.trainer_weight,
                f"contradicts trains: {list(self.trains)}",
                "give the trainer a weight above 0 and train inner or outer too, or leave the trainer out",
            )
        if "outer" not in self.trains and self.loss.adversarial != "off":
            raise InvalidInput(
                "loss.adversarial", self.loss.adversarial, "needs the outer network", "train it too, or set it to off"
            )
        if ede and self.loss.interval_weight:
            raise InvalidInput(
                "loss.interval_weight", self.loss.interval_weight, "has nothing to train in ede2020", "set it to 0"
            )

    @property
    def network(self) -> NetworkConfig:
        """The generator's sizes, presets resolved."""
        return network_config(self.generator) if isinstance(self.generator, str) else self.generator


def load_config(path: Path) -> TrainConfig:
    """Read a YAML file; unknown or ill-typed keys are refused by name.

    Raises:
        InvalidInput: the file cannot be read, or says something impossible.
    """
    config = load_yaml(path, TrainConfig)
    if config.start_from is None or config.start_from in shipped_names():
        return config
    return msgspec.structs.replace(config, start_from=str(beside(path, config.start_from)))
