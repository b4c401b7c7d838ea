"""What the poster varied, as frozen values: each experiment is a few changes to one configuration.

References: Ede & Beanland 2020, https://doi.org/10.1038/s41598-020-65261-0, and the poster of the same work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from restore.generator.ede2020 import EdeConfig
from restore.training.config import Crop, OptimiserConfig, ScheduleConfig, TrainConfig
from restore.training.drawing import DrawConfig
from restore.training.losses import LossConfig
from scancontrol.errors import InvalidInput

__all__ = [
    "BASE",
    "CLAIMS",
    "EXPERIMENTS",
    "LOOKED",
    "WARM",
    "Claim",
    "Experiment",
    "Measure",
    "Scale",
    "configuration",
]

BASE = "alrc"
_NOTHING: Mapping[str, Any] = {}
_ENDLESS = 1_000_000_000  # a run in minutes has no end in steps


@dataclass(frozen=True)
class Scale:
    """The size at which all experiments of a run are done.

    Attributes:
        width: share of the author's channels.
        size: side of the crops in pixels; 512 is his.
        steps: of each run; 500,000 are his.
        warm_steps: of them, that the experiments with the same seed share, for economy; see ``Experiment.warm``.
        clip_decay: of the running moments of clipping; 0.999 is his, 0.99 forgets within a short run.
        look_crops: held-out crops in a closer look; 20,000 micrographs are his.
        crops: held-out crops in each measurement of the error.

    Raises:
        InvalidInput: there are no steps left after the shared ones, or the decay is none.
    """

    width: float = 1 / 8
    size: int = 128
    steps: int = 1500
    warm_steps: int = 0
    clip_decay: float = 0.99
    look_crops: int = 512
    crops: int = 48

    def __post_init__(self) -> None:
        if not 0 <= self.warm_steps < self.steps:
            raise InvalidInput("warm_steps", self.warm_steps, f"is not below {self.steps} steps", "share fewer")
        if not 0 < self.clip_decay < 1:
            raise InvalidInput("clip_decay", self.clip_decay, "is not between 0 and 1", "0.999 is the author's")


@dataclass(frozen=True)
class Experiment:
    """Changes to the base configuration, in parts ``generator``, ``draw``, ``loss``, ``optimiser``, ``train``.

    Attributes:
        name: under which it is asked for and listed.
        figure: in which its learning curve is drawn.
        changes: by part, field and value.
        stages: networks that move, in parts of the steps; each stage starts from the one before.
        after: an experiment whose weights, of the same seed, it starts from.
        warm: whether it may branch from the base's first steps, as what it is about acts later too. What is about
            the way from nothing (network, optimiser, order of training) takes all its steps itself.
        as_long_as: an experiment of the author's network; this one is our own, for as many processor minutes.
    """

    name: str
    figure: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stages: tuple[tuple[tuple[str, ...], float], ...] = ((("inner", "trainer", "outer"), 1.0),)
    after: str | None = None
    warm: bool = False
    as_long_as: str | None = None

    def needs(self, scale: Scale) -> frozenset[str]:
        """Names of the experiments that have to be done before it."""
        start = WARM.name if self.warm and scale.warm_steps else None
        return frozenset(name for name in (self.after, self.as_long_as, start) if name is not None)


def _clipping(name: str, clip: str, huberise: bool, weight: bool = False, base: str = "mse") -> Experiment:
    loss = {"clip": clip, "huberise": huberise, "running_error_weight": weight, "base": base}
    if base == "quartic":  # fourth powers are two orders below the squares for which the author chose 25 and 900
        loss |= {"clip_mean": 0.25, "clip_mean_square": 0.1}
    return Experiment(name, "quartic" if base == "quartic" else "clipping", {"loss": loss}, warm=True)


def _coverage(one_in: int) -> Experiment:
    draw = {"coverage": (1 / one_in, 1 / one_in)}
    return Experiment(f"coverage_1_{one_in}", "coverage", {"draw": draw}, warm=True)


WARM = Experiment("warm", "")
"""The base's first steps, from which the warm experiments of the same seed branch."""

_BINARY = {"patterns": {"ede_spiral_binary": 1.0}}


EXPERIMENTS: tuple[Experiment, ...] = (
    _clipping(BASE, "code", False),
    _clipping("huber", "off", True),
    _clipping("alrc_huber", "code", True),
    _clipping("squared_error", "off", False),
    _clipping("alrc_weighted", "code", False, weight=True),
    _clipping("squared_error_weighted", "off", False, weight=True),
    Experiment(
        "two_stages",
        "training",
        stages=((("inner", "trainer"), 0.5), (("outer",), 0.25), (("inner", "trainer", "outer"), 0.25)),
    ),
    Experiment("no_path", "information", {"generator": {"path_information": False}}),
    Experiment("extra_residuals", "information", {"generator": {"extra_residuals": True}}),
    Experiment("rmsprop", "optimisers", {"optimiser": {"kind": "rmsprop", "momentum": 0.0}}),
    Experiment("nesterov", "optimisers", {"optimiser": {"kind": "nesterov"}}),
    Experiment("momentum", "optimisers", {"optimiser": {"kind": "momentum"}}),
    _coverage(10),
    _coverage(40),
    _coverage(100),
    _clipping("quartic", "off", False, base="quartic"),
    _clipping("quartic_alrc", "code", False, base="quartic"),
    Experiment(
        "binary_infilled", "inputs", {"generator": {"path_information": False, "infill": True}, "draw": _BINARY}
    ),
    Experiment("grid", "inputs", {"draw": {"patterns": {"ede_grid": 1.0}}}, warm=True),
    Experiment("ours_blurred", "ours", as_long_as=BASE),
    Experiment("ours_binary", "ours", {"draw": _BINARY}, as_long_as="binary_infilled"),
    Experiment(
        "adversarial",
        "adversarial",
        {
            "loss": {"adversarial": "least_squares", "lowpass_output": True},
            "train": {"conditional_discriminators": False},
        },
        stages=((("inner", "trainer", "outer"), 0.25),),
        after=BASE,
    ),
)


LOOKED = (BASE, "squared_error_weighted", "alrc_weighted", "adversarial")
"""Experiments at whose errors and pictures a closer look is taken: clipped, weighted, both, adversarial."""

Measure = Literal["error", "growth", "explained", "fine_power", "spikes"]


@dataclass(frozen=True)
class Claim:
    """A sentence of the poster, and the two experiments whose values of a measure it puts in an order.

    Attributes:
        lower: the experiment of the lower value, or that value.
        little_pct: of a claim of little effect, by how many per cent of the higher one's value they may differ.
    """

    text: str
    lower: str | float
    higher: str
    measure: Measure = "error"
    little_pct: float | None = None


CLAIMS = (
    Claim("Adaptive learning rate clipping results in lower errors than Huberisation.", BASE, "huber"),
    Claim("Clipping results in lower errors than squared errors alone.", BASE, "squared_error"),
    Claim("Clipping stabilises convergence.", BASE, "squared_error", "spikes"),
    Claim("Clipping stabilises a quartic loss (its author's follow-up).", "quartic_alrc", "quartic", "spikes"),
    Claim("Clipping lowers the error of a quartic loss (likewise).", "quartic_alrc", "quartic"),
    Claim("Weighting errors by their running means has little effect.", "alrc_weighted", BASE, little_pct=3),
    Claim("Guided training reaches a lower error than two stages with fine-tuning.", BASE, "two_stages"),
    Claim("Errors are lower with path information.", BASE, "no_path"),
    Claim("Errors are higher with extra residual connections.", BASE, "extra_residuals"),
    Claim("More coverage decreases errors: 1/10 below 1/20.", "coverage_1_10", BASE),
    Claim("More coverage decreases errors: 1/20 below 1/40.", BASE, "coverage_1_40"),
    Claim("More coverage decreases errors: 1/40 below 1/100.", "coverage_1_40", "coverage_1_100"),
    Claim("ADAM outperforms RMSProp.", BASE, "rmsprop"),
    Claim("RMSProp outperforms Nesterov's momentum.", "rmsprop", "nesterov"),
    Claim("RMSProp outperforms momentum.", "rmsprop", "momentum"),
    Claim("Non-adversarial errors increase away from the path.", 1.0, BASE, "growth"),
    Claim("Adversarial errors grow less away from the path.", "adversarial", BASE, "growth"),
    Claim("Adversarial errors are less structured.", "adversarial", BASE, "explained"),
    Claim("Adversarial training gives realistic noise, squared errors blur.", BASE, "adversarial", "fine_power"),
    Claim("(Ours, equal minutes, blurred spiral: lower than his.)", "ours_blurred", BASE),
    Claim("(Ours, equal minutes, binary spiral: lower than his, infilled.)", "ours_binary", "binary_infilled"),
)


def configuration(
    experiment: Experiment, scale: Scale, seed: int, holdout_groups: tuple[str, ...], stage: int = 0
) -> TrainConfig:
    """The training configuration of one stage of an experiment; seeds pair initial weights and draws."""
    moving, share = experiment.stages[stage]
    changed = experiment.changes.get
    steps = max(2, round(scale.steps * share))
    draw = DrawConfig(
        patterns={"ede_spiral": 1.0},
        path="fixed",
        coverage=(0.05, 0.05),
        zoom_share=0,
        gamma_share=0,
        invert_share=0,
        subpixel_share=0,
        poisson_share=0,
        lag_share=0,
        stated_share=0,
    )
    draw = msgspec.structs.replace(draw, **changed("draw", _NOTHING))
    common: dict[str, Any] = {
        "draw": draw,
        "crops": (Crop(size=scale.size, batch=1),),
        "group_exponent": 1.0,
        "holdout_groups": holdout_groups,
        "seed": seed,
    }
    if experiment.as_long_as is not None:
        return TrainConfig(
            generator="lite",
            loss=LossConfig(trainer_weight=0.3, interval_weight=0.5),
            optimiser=OptimiserConfig(clip_gradient=5.0),
            schedule=ScheduleConfig(kind="cooldown", steps=_ENDLESS, warmup_steps=50, cooldown_share=0.5),
            average_decay=0.99,
            **common,
        )
    loss = LossConfig(
        base="mse",
        lowpass_target=True,
        trainer_weight=2.0,
        half_truth="strided",
        interval_weight=0,
        clip="code",
        clip_decay=(scale.clip_decay, scale.clip_decay),
    )
    if "trainer" not in moving:
        loss = msgspec.structs.replace(loss, trainer_weight=0.0)
    adam = OptimiserConfig(kind="adam", learning_rate=1e-4, betas=(0.9, 0.999), clip_gradient=None)
    # What begins after another experiment takes the second half of the author's policy, as his second stage does.
    first = steps if experiment.after is not None else 0
    return TrainConfig(
        generator=EdeConfig(width=scale.width, **changed("generator", _NOTHING)),
        loss=msgspec.structs.replace(loss, **changed("loss", _NOTHING)),
        optimiser=msgspec.structs.replace(adam, **changed("optimiser", _NOTHING)),
        schedule=ScheduleConfig(kind="ede2020", steps=2 * steps, first_step=first, last_step=first + steps),
        trains=moving,  # type: ignore[arg-type]
        **common,
        **changed("train", _NOTHING),
    )
