"""Weights as they ship: safetensors without pickle, with what they need to be used, and a hash that is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.generator.intervals import Calibration
from restore.generator.networks import NetworkConfig, build_network
from scancontrol.errors import InvalidInput

__all__ = ["Weights", "load_weights", "round_to_file", "save_weights", "shipped", "shipped_names"]

_FORMAT = "scancontrol-generator/1"
_MOST_BYTES = 16_000_000  # what a file may hold in single precision; above it, half precision
_FOLDER = Path(__file__).parents[1] / "weights"


def shipped(name: str = "lite") -> Path:
    """Where the weights of a preset lie in the package.

    Raises:
        InvalidInput: none of that name ship.
    """
    found = shipped_names()
    if name not in found:
        raise InvalidInput("weights", name, "do not ship with the package", f"use one of: {', '.join(found) or 'none'}")
    return _FOLDER / f"{name}.safetensors"


def shipped_names() -> tuple[str, ...]:
    """The presets whose weights lie in the package."""
    return tuple(path.stem for path in sorted(_FOLDER.glob("*.safetensors")))


Face = Literal["faithful", "realistic"]


class _Notes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a file says of its tensors."""

    format: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    face: Face
    config: NetworkConfig
    calibration: Calibration | None


@dataclass(frozen=True)
class Weights:
    """A generator ready to restore, its calibration, which face of the restoration it shows, and its hash."""

    name: str
    network: Generator | Ede2020
    calibration: Calibration | None
    face: Face
    hash: str


def _digest(tensors: Mapping[str, Tensor], notes: str) -> str:
    digest = hashlib.blake2b(notes.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.dim() else tensor.numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def round_to_file(network: Generator | Ede2020) -> torch.dtype:
    """Round a network's weights to what a file will hold of them, and return the precision it is held in.

    Half precision, 11 significant bits, if the file would be larger than 16 MB in single: the network's sums stay in
    single precision, and its frames move by less than a thousandth of their spread.
    """
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("trainer.")}
    large = sum(value.numel() * value.element_size() for value in state.values()) > _MOST_BYTES
    if not large:
        return torch.float32
    for value in state.values():
        value.copy_(value.half())
    return torch.float16


def save_weights(
    path: Path, network: Generator | Ede2020, name: str, calibration: Calibration | None = None, face: Face = "faithful"
) -> str:
    """Write what restoring needs (the trainer head stays behind), atomically; returns the hash.

    The network's weights are rounded first, if need be: see :func:`round_to_file`.
    """
    precision = round_to_file(network)
    tensors = {
        key: value.detach().to("cpu", precision).contiguous().clone()
        for key, value in network.state_dict().items()
        if not key.startswith("trainer.")
    }
    notes = json.dumps(
        {
            "format": _FORMAT,
            "name": name,
            "face": face,
            "config": msgspec.to_builtins(network.config),
            "calibration": None if calibration is None else msgspec.to_builtins(calibration),
        },
        sort_keys=True,
    )
    digest = _digest(tensors, notes)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"notes": notes, "hash": digest})
    partial.chmod(0o644)  # safetensors writes for its owner alone
    partial.replace(path)
    return digest


def load_weights(path: Path, device: torch.device | str = "cpu") -> Weights:
    """Read weights; anything that is not exactly what was written is refused.

    Raises:
        InvalidInput: the file is missing, truncated, altered, foreign, or not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (OSError, SafetensorError) as error:
        raise InvalidInput("weights", path, f"cannot be read ({error})", "copy the file again") from error
    try:
        notes = msgspec.json.decode(metadata["notes"], type=_Notes)
        if notes.format != _FORMAT:
            raise KeyError(notes.format)
    except (KeyError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidInput(
            "weights", path, f"are not of this program ({_FORMAT})", "export them with python -m restore.export"
        ) from error
    if _digest(tensors, metadata["notes"]) != metadata.get("hash"):
        raise InvalidInput("weights", path, "were altered: their hash does not match", "copy the file again")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise InvalidInput("weights", path, "hold NaN or Inf", "train again, or export an earlier checkpoint")
    with torch.device("meta"):  # a configuration may ask for far more memory than the file has tensors for
        network = build_network(notes.config)
    wanted = {name: value for name, value in network.state_dict().items() if not name.startswith("trainer.")}
    fits = {n: t.shape for n, t in wanted.items()} == {n: t.shape for n, t in tensors.items()}
    if not fits or {t.dtype for t in tensors.values()} - {torch.float16, torch.float32}:
        raise InvalidInput("weights", path, "do not fit their own configuration", "export them again")
    single = {name: tensor.float() for name, tensor in tensors.items()}
    network.load_state_dict(single, strict=False, assign=True)
    network.trainer.to_empty(device="cpu")  # restoring does not need it, and files do not have it
    for parameter in network.trainer.parameters():
        torch.nn.init.zeros_(parameter)
    network = network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Weights(notes.name, network, notes.calibration, notes.face, metadata["hash"])
