"""The training loop: draw, restore, compare, step; checkpoint, validate, show. One class, one process or many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.generator.networks import build_network
from restore.generator.resident import fast_precision
from restore.gridding import Normalisation
from restore.training.adversarial import AdversarialTraining
from restore.training.checkpoint import (
    CHECKPOINT,
    fit,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from restore.training.config import TrainConfig
from restore.training.curves import Curves
from restore.training.drawing import Batch, collate, draw_item
from restore.training.images import ImageSet, epoch_order
from restore.training.losses import GeneratorLoss
from restore.training.optimisers import make_optimiser
from restore.training.processes import Processes
from restore.training.replay import HardExamples, Item
from restore.training.starting import start_from
from restore.training.validation import validate
from scancontrol.errors import InvalidInput

__all__ = ["Training"]

log = logging.getLogger(__name__)


class Training:
    """One run. ``step()`` does one optimisation step; ``run()`` does them until time or steps are up.

    All randomness of step k and item j comes from (seed, k, j), so resuming needs no generator state, and
    processes of a distributed run draw disjoint items of the very batch that one process would draw. (Hard-example
    replay is the exception: each process replays its own.)

    ``clock`` tells the seconds of training, by which a schedule in minutes goes; the time of day's if not given.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: ImageSet,
        out: Path,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.out, self.device, self.clock = config, out, torch.device(device), clock
        self.rank, self.world = rank, world  # which process of how many
        self.processes = Processes(rank, world, self.device)
        for crop in config.crops:
            if crop.batch % world:
                raise InvalidInput(
                    "crops.batch", crop.batch, f"does not divide among {world} processes", f"use a multiple of {world}"
                )
        self.images, self.holdout = images.without(config.holdout_groups)  # to train on, to look at the error on
        if not len(self.images):
            raise InvalidInput("images", 0, "are left to train on", "hold fewer groups out")
        torch.manual_seed(config.seed)
        self.network = build_network(config.network).to(self.device)
        if config.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.start_from is not None:
            start_from(self.network, Path(config.start_from))
        for name in ("inner", "trainer", "outer"):
            getattr(self.network, name).requires_grad_(name in config.trains)
        # What ships, the running mean of the weights:
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.loss = GeneratorLoss(
            config.loss, float("outer" in config.trains), sorted({c.size for c in config.crops})
        ).to(self.device)
        self.moving = [p for p in self.network.parameters() if p.requires_grad]  # the parameters that are trained
        self.optimiser = make_optimiser(config.optimiser, self.moving)
        self.adversarial = (
            None
            if config.loss.adversarial == "off"
            else AdversarialTraining(
                config.loss,
                config.conditional_discriminators,
                config.discriminator_learning_rate,
                config.optimiser.betas,
                self.device,
                self.processes.mean(),
            )
        )
        fast = fast_precision(self.device) is torch.bfloat16
        self.mixed = fast if config.mixed_precision == "auto" else config.mixed_precision
        self.replay = HardExamples(config.replay)
        self.model = self.processes.together(self.network, self._one_small_loss)  # as all processes train it
        self.steps_done, self.images_drawn, self.minutes_before = 0, 0, 0.0  # minutes: of earlier sessions
        self.started, self.began = clock(), time.monotonic()  # this session, by the schedule's clock and by ours
        self.waited_s = 0.0  # for images
        self._order: tuple[int, list[int]] = (-1, [])  # epoch, and its images in the order that they are drawn
        self._epoch_size = len(epoch_order(self.images.groups, config.seed, 0, config.group_exponent))
        self.curves = Curves(out) if rank == 0 else None

    @property
    def minutes(self) -> float:
        """Minutes of training so far by the run's clock, those before a resume included."""
        return self.minutes_before + (self.clock() - self.started) / 60

    def _one_small_loss(self) -> Tensor:
        """The loss of one frame of noise."""
        side = 64
        frame = torch.rand(1, 1, side, side, device=self.device)
        unit = Normalisation(torch.zeros(1, device=self.device), torch.ones(1, device=self.device))
        loss = GeneratorLoss(self.config.loss, float("outer" in self.config.trains), [side]).to(self.device)
        total: Tensor = loss(self.network.train()(frame, (frame > 0.7).float(), frame), frame, unit).total
        return total

    def _image(self, position: int) -> Tensor:
        """The image at a position of the endless sequence of epochs."""
        epoch, offset = divmod(position, self._epoch_size)
        if self._order[0] != epoch:
            order = epoch_order(self.images.groups, self.config.seed, epoch, self.config.group_exponent)
            self._order = (epoch, order)
        return self.images.images[self._order[1][offset]]

    def draw(self, step: int) -> tuple[Batch, list[Item]]:
        """This process's share of the batch of a step, and what each item of it was drawn from."""
        config = self.config
        shares = np.array([c.share for c in config.crops])
        choice = np.random.default_rng((config.seed, step)).choice(len(shares), p=shares / shares.sum())
        crop = config.crops[int(choice)]
        drawn, items = [], []
        for place in range(self.rank, crop.batch, self.world):
            replayed = self.replay.draw(crop.size, np.random.default_rng((config.seed, step, place, 1)))
            item = replayed or Item(step, place, self.images_drawn + place)
            rng = np.random.default_rng((config.seed, item.step, item.place))
            drawn.append(draw_item(self._image(item.position), crop.size, config.draw, rng, self.device))
            items.append(item)
        self.images_drawn += crop.batch
        return collate(drawn), items

    def step(self, minutes: float | None = None) -> dict[str, float]:
        """Draw, restore, compare, update; returns what the learning curve shows.

        Args:
            minutes: of training so far, as all processes agree on them; this one's own clock if not given.
        """
        config = self.config
        began = time.monotonic()
        batch, items = self.draw(self.steps_done)
        self.waited_s += time.monotonic() - began
        factor = config.schedule.factor(self.steps_done, self.minutes if minutes is None else minutes)
        for group in self.optimiser.param_groups:
            group["lr"] = config.optimiser.learning_rate * factor
        self.model.train()
        self.loss.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            estimate = self.model(batch.mean, batch.weight, batch.distance, batch.noise)
        terms = self.loss(estimate, batch.truth, batch.normalisation, self.processes.mean())
        total = terms.total
        if self.adversarial is not None:
            frame = batch.normalisation.invert(estimate.frame)
            # Every process crops elsewhere: more places are judged at once.
            seed = (config.seed * 1_000_003 + self.steps_done) * self.world + self.rank
            total = total + self.adversarial.step(frame, batch, seed)
        norm = self._descend(total)
        for item, loss in zip(items, terms.per_image.tolist(), strict=True):
            rng = np.random.default_rng((config.seed, self.steps_done, item.place, 2))
            self.replay.consider(batch.truth.shape[-1], item, loss, rng)
        self._update_average()
        self.steps_done += 1
        return {
            "step": self.steps_done,
            "minutes": self.minutes,
            "loss": float(total.detach()),
            "rmse_pct": float(terms.rmse_pct),
            "interval_loss": float(terms.interval),
            "gradient_norm": norm,
            "clipped": terms.clipped,
            "learning_rate": config.optimiser.learning_rate * factor,
            "samples_per_s": batch.truth.shape[0] * self.world / max(1e-9, time.monotonic() - began),
            "waiting_pct": 100 * self.waited_s / max(1e-9, time.monotonic() - self.began),
        }

    def _descend(self, total: Tensor) -> float:
        """One optimiser step; returns the gradient's norm, or NaN if the batch could not be used."""
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.moving, self.config.optimiser.clip_gradient or float("inf"))
        if not bool(torch.isfinite(norm)):  # one bad batch must not end a night's run
            log.warning("step %d: the gradient is not finite; batch left out", self.steps_done)
            return float("nan")
        self.optimiser.step()
        return float(norm)

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows quickly, so that the random start is forgotten within some steps.
        decay = min(self.config.average_decay, (1 + self.steps_done) / (10 + self.steps_done))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def averaged(self) -> Generator | Ede2020:
        """The generator with averaged weights, ready to restore."""
        network = build_network(self.config.network).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self) -> None:
        """Write the checkpoint (rank 0 only; hard examples are rank 0's).

        Raises:
            InvalidInput: the disk is full; the previous checkpoint is intact.
        """
        if self.rank:
            return
        parts = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": optimiser_tensors(self.optimiser),
            "loss": self.loss.state_dict(),
        }
        if self.adversarial is not None:
            parts |= self.adversarial.state()
        notes = {
            "steps_done": self.steps_done,
            "images_drawn": self.images_drawn,
            "minutes": self.minutes,
            "machine": self._machine(),
            "replay": self.replay.state(),
            "config": msgspec.to_builtins(self.config),
        }
        save_checkpoint(self.out / CHECKPOINT, parts, notes)

    def _machine(self) -> str:
        if self.device.type == "cuda":
            return f"{self.world} × {torch.cuda.get_device_name(self.device)}"
        threads = torch.get_num_threads() * self.world
        return f"{threads} processor thread{'s' if threads > 1 else ''}"

    def resume(self) -> None:
        """Continue from the run's checkpoint, exactly where it was written.

        Raises:
            InvalidInput: there is none, it is damaged, or it is of another network.
        """
        path = self.out / CHECKPOINT
        parts, notes = load_checkpoint(path, self.device)
        fit(self.network, parts.get("network", {}), path)
        fit(self.loss, parts.get("loss", {}), path)
        self.average = {name: value.clone() for name, value in parts["average"].items()}
        restore_optimiser(self.optimiser, parts.get("optimiser", {}))
        if self.adversarial is not None:
            self.adversarial.restore(parts)
        if "replay" in notes:
            self.replay.restore(notes["replay"])
        self.steps_done, self.images_drawn = int(notes["steps_done"]), int(notes["images_drawn"])
        self.minutes_before, self.started = float(notes["minutes"]), self.clock()
        if self.curves is not None:
            self.curves.forget_after(self.steps_done)

    def branch(self, source: Path) -> None:
        """Go on from another run's checkpoint as if it had been this one: weights, optimiser, place in the draws.

        What only this run has, running errors for one, begins here; so do the moments of clipping where the other's
        loss was on another scale.

        Args:
            source: the other run's folder.

        Raises:
            InvalidInput: it holds no checkpoint, or one of another network or optimiser.
        """
        path = source / CHECKPOINT
        parts, notes = load_checkpoint(path, self.device)
        before = msgspec.convert(notes["config"], TrainConfig)
        if before.optimiser.kind != self.config.optimiser.kind:
            raise InvalidInput(
                "optimiser.kind", self.config.optimiser.kind, f"cannot go on from {path}'s", "begin from nothing"
            )
        fit(self.network, parts["network"], path)
        self.average = {name: value.clone() for name, value in parts["average"].items()}
        restore_optimiser(self.optimiser, parts["optimiser"])
        if before.loss.base == self.config.loss.base:
            fit(self.loss, self.loss.state_dict() | parts["loss"], path)
        self.steps_done, self.images_drawn = int(notes["steps_done"]), int(notes["images_drawn"])
        self.minutes_before, self.started = float(notes["minutes"]), self.clock()

    def run(self, minutes: float | None, stop: Callable[[], bool] = lambda: False, progress: bool = True) -> None:
        """Train until the schedule, the given minutes of this call, or ``stop`` end it; then save."""
        ends = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
        saved = validated = time.monotonic()
        while True:
            spent, ending = self.processes.agreed(self.minutes, stop() or time.monotonic() >= ends)
            if ending or self.config.schedule.is_over(self.steps_done, spent):
                break
            row = self.step(spent)
            if self.curves is not None:
                self.curves.add(row, self.config.schedule.steps, quiet=not progress)
            if self.rank == 0 and time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if self.rank == 0 and time.monotonic() - validated > 60 * self.config.validate_minutes:
                self.validate()
                validated = time.monotonic()
        self.save()
        if self.rank == 0:
            self.validate()
        if self.curves is not None:
            self.curves.end()

    def validate(self) -> dict[str, float]:
        """Error of the averaged weights, and of their start, on the held-out groups; also into the curves."""
        if not len(self.holdout):
            return {}
        row = {"step": float(self.steps_done), "minutes": self.minutes}
        row |= validate(self.averaged(), self.holdout, self.device)
        if self.curves is not None:
            self.curves.add_validation(row)
        return row
