"""``python -m restore.export --run runs/lite --images MANIFEST``: averaged weights, calibrated, as they ship."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from restore.generator.networks import build_network
from restore.generator.weights import Weights, round_to_file, save_weights
from restore.training.calibrating import calibrate
from restore.training.card import model_card
from restore.training.checkpoint import CHECKPOINT, load_checkpoint
from restore.training.config import TrainConfig
from restore.training.images import ImageSet
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.files import write_text
from scancontrol.processes import logs

__all__ = ["export", "main"]

log = logging.getLogger(__name__)


def export(
    run: Path, images: Path, out: Path, name: str, specimens: Sequence[str] = (), *, skip_unreadable: bool = False
) -> str:
    """Write a run's averaged weights, calibrated on its held-out groups, and their model card; returns their hash.

    A run with an adversarial loss makes the realistic face, any other the faithful one. ``specimens`` are kinds of
    simulated ones, on which the intervals of frames whose readings' noise is stated are calibrated.

    Raises:
        InvalidInput: the run has no usable checkpoint or held out no groups, or an image cannot be used and
            ``skip_unreadable`` is not set.
    """
    parts, notes = load_checkpoint(run / CHECKPOINT)
    config = msgspec.convert(notes["config"], TrainConfig)
    if not config.holdout_groups:
        raise InvalidInput(
            "holdout_groups", (), "leave nothing to calibrate on", "hold some specimen groups out of training"
        )
    network = build_network(config.network)
    network.load_state_dict(parts["average"])
    _, holdout = ImageSet.read(images, config.split, skip_unreadable=skip_unreadable).without(config.holdout_groups)
    network.eval()
    round_to_file(network)  # what is calibrated is what ships
    calibration = calibrate(Weights(name, network, None, "faithful", ""), holdout, specimens)
    face: Literal["faithful", "realistic"] = "faithful" if config.loss.adversarial == "off" else "realistic"
    digest = save_weights(out, network, name, calibration, face)
    parameters = sum(value.numel() for key, value in network.state_dict().items() if not key.startswith("trainer."))
    write_text(out.with_suffix(".md"), model_card(name, face, digest, run, notes, images, parameters))
    log.info("%s: %d steps, %.0f minutes, hash %s", out, notes["steps_done"], notes["minutes"], digest)
    return digest


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (2 for input that cannot be used)."""
    parser = argparse.ArgumentParser(prog="python -m restore.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--images", type=Path, required=True, help="the folder or manifest it was trained from")
    parser.add_argument("--out", type=Path, help="weights file; restore/weights/NAME.safetensors if not given")
    parser.add_argument("--name", default="lite")
    parser.add_argument(
        "--specimens",
        default="",
        metavar="KIND,…",
        help="simulated specimens without noise, for the intervals of frames whose noise is stated",
    )
    parser.add_argument("--skip-unreadable", action="store_true", help="go on without images that cannot be used")
    args = parser.parse_args(arguments)
    out = args.out or Path(__file__).parent / "weights" / f"{args.name}.safetensors"
    try:
        logs.configure("restore.export", verbose=True)
        specimens = tuple(filter(None, args.specimens.split(",")))
        export(args.run, args.images, out, args.name, specimens, skip_unreadable=args.skip_unreadable)
    except ScanControlError as error:
        log.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
