"""``python -m restore.train --config config/train-lite.yaml``: train, resume, export. See docs/how-to/retrain.md."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec
import torch

from restore.training.checkpoint import CHECKPOINT, load_checkpoint
from restore.training.config import TrainConfig, load_config
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.simulated import simulated_images
from scancontrol.errors import ScanControlError
from scancontrol.files import beside
from scancontrol.processes import logs

__all__ = ["main"]

log = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m restore.train", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file, see config/train-*.yaml")
    parser.add_argument("--images", type=Path, help="folder or manifest.csv; overrides the configuration's")
    parser.add_argument("--out", type=Path, help="folder of the run; overrides the configuration's")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice if not given")
    parser.add_argument("--skip-unreadable", action="store_true", help="go on without images that cannot be used")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (2 for input that cannot be used)."""
    args = _parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        logs.configure("restore.train", verbose=True)
        return _train(args)
    except ScanControlError as error:
        log.error("%s", error)
        return 2


def _train(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.distributed.init_process_group("nccl" if args.device.startswith("cuda") else "gloo")
    rank = torch.distributed.get_rank() if world > 1 else 0
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if args.device == "cuda" else args.device
    source = args.images or beside(args.config, config.images)
    images = ImageSet.read(source, config.split, skip_unreadable=args.skip_unreadable)
    out = args.out or beside(args.config, config.out)
    if config.holdout_share and not config.holdout_groups:
        config = msgspec.structs.replace(config, holdout_groups=_held_out(config, images, out, resume=args.resume))
    if config.simulated_images:
        images = images + simulated_images(config.simulated_images, config.seed)
    training = Training(config, images, out, device, rank, world)
    if args.resume:
        training.resume()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    training.run(args.minutes, lambda: stopping, not args.quiet)
    if world > 1:
        torch.distributed.barrier()  # the first process still saves and validates; who leaves before it ends it
        torch.distributed.destroy_process_group()
    return 0


def _held_out(config: TrainConfig, images: ImageSet, out: Path, *, resume: bool) -> tuple[str, ...]:
    """Groups that are not trained on: those of the run that is gone on with, whatever images have come since."""
    if resume:
        return msgspec.convert(load_checkpoint(out / CHECKPOINT)[1]["config"], TrainConfig).holdout_groups
    groups = images.some_groups(config.holdout_share)
    log.info(
        "held out: %s", ", ".join(groups) or "nothing, as there is but one group: what comes of it cannot be exported"
    )
    return groups


if __name__ == "__main__":
    sys.exit(main())
