"""The configuration of a training run: one YAML file, strictly read; every experiment of the poster is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from restore.generator import PRESETS, GeneratorConfig
from restore.losses import LossConfig
from restore.training.drawing import DrawConfig
from scancontrol.errors import InvalidInput

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
    quarter, then 1× for a quarter and eight steps down to 1/8×.
    """

    kind: Literal["constant", "cosine", "cooldown", "ede2020"] = "cooldown"
    steps: int = 10_000
    warmup_steps: int = 200
    cooldown_share: float = 0.25

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with at this step."""
        import math

        warm = min(1.0, (step + 1) / max(1, self.warmup_steps)) if self.kind != "ede2020" else 1.0
        done = min(1.0, step / max(1, self.steps))
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
    """Everything about a run but where it runs."""

    images: str = "micrographs"
    split: str | None = "train"
    holdout_groups: tuple[str, ...] = ()
    group_exponent: float = 0.6
    generator: str | GeneratorConfig = "lite"
    draw: DrawConfig = msgspec.field(default_factory=DrawConfig)
    crops: tuple[Crop, ...] = (Crop(),)
    loss: LossConfig = msgspec.field(default_factory=LossConfig)
    optimiser: OptimiserConfig = msgspec.field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = msgspec.field(default_factory=ScheduleConfig)
    average_decay: float = 0.999  # of the averaged weights, per step
    mixed_precision: bool = False
    channels_last: bool = True
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 10.0
    seed: int = 0
    out: str = "runs/train"

    def __post_init__(self) -> None:
        if isinstance(self.generator, str) and self.generator not in PRESETS:
            raise InvalidInput("generator", self.generator, "is no preset", f"use {', '.join(PRESETS)} or sizes")
        if not self.crops or sum(c.share for c in self.crops) <= 0:
            raise InvalidInput("crops", len(self.crops), "have no share at all", "give one crop size a share > 0")
        for crop in self.crops:
            if crop.size < 64 or crop.size % 16 or crop.batch < 1:
                raise InvalidInput("crops", crop, "is no multiple of 16 from 64 on", "use 128, 256, 384 or 512")

    @property
    def network(self) -> GeneratorConfig:
        """The generator's sizes, presets resolved."""
        return PRESETS[self.generator] if isinstance(self.generator, str) else self.generator


def load_config(path: Path) -> TrainConfig:
    """Read a YAML file; unknown or ill-typed keys are refused by name.

    Raises:
        InvalidInput: the file cannot be read, or says something impossible.
    """
    try:
        found: Any = yaml.safe_load(path.read_text())
        return msgspec.convert(found or {}, TrainConfig)
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput("config", path, f"cannot be read ({error.strerror})", "name a YAML file") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidInput("config", path, f"is not valid: {error}", "correct that entry") from error
