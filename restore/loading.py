"""Which restorer a name stands for, and which device it runs on."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from restore.estimate.lattice.following import CrystalSearch
from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from restore.generator.resident import PRECISIONS, Precision
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import shipped
from restore.restorer import Restorer
from scancontrol.errors import InvalidInput

__all__ = ["add_restorer_options", "generator_ships", "load_offline", "load_restorer", "pick_device", "weights_file"]

_STRONGEST_FILL = "spectral"


def add_restorer_options(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`load_restorer` and the engine around it are made from."""
    parser.add_argument("--method", default="auto", help="auto, generator, or the name of a classical fill")
    parser.add_argument("--weights", type=Path, help="weights of the generator, in place of those that ship")
    parser.add_argument(
        "--memory",
        type=int,
        default=1,
        metavar="K",
        help="frames that a picture is made from at most, older ones moved",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 …; of a server also several, cuda:0,cuda:1"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the generator; single gives the same frame on every machine, auto is the fastest here",
    )


def generator_ships() -> bool:
    """Whether weights are in this installation at all."""
    try:
        shipped("lite")
    except InvalidInput:
        return False
    return True


def weights_file(weights: Path | None, device: torch.device) -> Path:
    """The file that is meant: as given; without an ending, such as ``lite``, one that ships; by default the device's.

    A GPU's are ``live``, a processor's ``lite``.

    Raises:
        InvalidInput: none of that name ship.
    """
    if weights is None:
        return shipped("live" if device.type == "cuda" else "lite")
    return weights if weights.suffix else shipped(weights.name)


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; ``auto`` is the first GPU, or the processor.

    Raises:
        InvalidInput: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput("device", repr(name), f"cannot be used ({reason})", "choose cpu, or auto") from None
    return device


def load_restorer(
    method: str,
    weights: Path | None,
    device: torch.device,
    precision: Precision = "auto",
    crystals: CrystalSearch = "off",
    together: int | None = None,
) -> Restorer:
    """What restores: a classical fill by its name, the generator, or (``auto``) the best of what is here.

    ``auto`` is the generator with ``weights``, see :func:`weights_file`; where none ship, the best fill that keeps up
    with the beam. ``together``: see :class:`restore.generator.resident.Resident`.

    Raises:
        InvalidInput: no such method; the weights are missing, foreign or damaged.
    """
    if method in FILLS:
        if weights is not None:
            raise InvalidInput("weights", weights, f"do not belong to the fill {method}", "leave them out")
        return FillRestorer(method)
    if method not in ("auto", "generator"):
        raise InvalidInput(
            "method", repr(method), "is not a known one", f"choose auto, generator or one of {', '.join(FILLS)}"
        )
    if weights is None and method == "auto" and not generator_ships():
        return FillRestorer("auto")
    file = weights_file(weights, device)
    return GeneratorRestorer.load(file, device, precision=precision, crystals=crystals, together=together)


def load_offline(
    method: str, weights: Path | None, device: torch.device, precision: Precision, crystals: CrystalSearch
) -> Restorer:
    """As :func:`load_restorer`, where there is no beam to keep up with: ``auto`` without weights is the strongest fill.

    Raises:
        InvalidInput: as of :func:`load_restorer`.
    """
    if method == "auto" and weights is None and not generator_ships():
        method = _STRONGEST_FILL
    return load_restorer(method, weights, device, precision, crystals)
