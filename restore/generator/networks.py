"""Which network a name or a configuration stands for."""

from __future__ import annotations

from restore.generator.ede2020 import Ede2020, EdeConfig
from restore.generator.generator import Generator
from restore.generator.presets import PRESETS, GeneratorConfig
from scancontrol.errors import InvalidInput

__all__ = ["NetworkConfig", "build_network", "network_config"]

NetworkConfig = GeneratorConfig | EdeConfig


def network_config(name: str) -> NetworkConfig:
    """The sizes of a preset.

    Raises:
        InvalidInput: there is no such preset.
    """
    if name == "ede2020":
        return EdeConfig()
    if name not in PRESETS:
        raise InvalidInput("generator", name, "is no preset", f"use ede2020, {', '.join(PRESETS)}, or give sizes")
    return PRESETS[name]


def build_network(config: NetworkConfig) -> Generator | Ede2020:
    """A fresh network; both kinds restore by the same call."""
    return Ede2020(config) if isinstance(config, EdeConfig) else Generator(config)
