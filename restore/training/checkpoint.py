"""Checkpoints without pickle: one safetensors file, replaced atomically, from which a run resumes exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scancontrol.errors import InvalidInput

__all__ = ["CHECKPOINT", "fit", "load_checkpoint", "optimiser_tensors", "restore_optimiser", "save_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"
"""Its name inside a run's folder."""


def save_checkpoint(path: Path, parts: Mapping[str, Mapping[str, Tensor]], notes: Mapping[str, Any]) -> None:
    """Write named groups of tensors and JSON-able notes; the previous file stays until the new one is on disk.

    Raises:
        InvalidInput: the disk is full or not writable; the previous checkpoint is intact.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous().clone()
        for part, group in parts.items()
        for name, tensor in group.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, {"notes": json.dumps(dict(notes))})
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise InvalidInput(
            "checkpoint", path, f"cannot be written ({error})", "free disk space; the previous one is intact"
        ) from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, dict[str, Tensor]], Any]:
    """(parts, notes) as they were saved.

    Raises:
        InvalidInput: the file is missing, truncated or of another kind.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            notes = json.loads((file.metadata() or {})["notes"])
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                part, _, name = key.partition("/")
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InvalidInput(
            "checkpoint", path, f"is missing, truncated or no checkpoint ({error})", "name another, or start afresh"
        ) from error
    return parts, notes


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as ``{parameter index}.{name}`` tensors."""
    found: dict[str, Tensor] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                found[f"{index}.{name}"] = torch.as_tensor(value)
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimiser_tensors`` gave."""
    current = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": current["param_groups"]})


def fit(module: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Load a module's tensors.

    Raises:
        InvalidInput: they are another module's.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidInput(
            "checkpoint", source, "is of another network or loss", "use the configuration it was made with"
        ) from error
