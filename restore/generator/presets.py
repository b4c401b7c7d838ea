"""Sizes of the generator, and the two that have names."""

from __future__ import annotations

import msgspec

from scancontrol.errors import InvalidInput

__all__ = ["PRESETS", "GeneratorConfig"]


class GeneratorConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="spectral", tag_field="kind"
):
    """Size of the generator.

    Attributes:
        widths: channels at 1/4, 1/8, 1/16, … of the frame's size; inner_blocks: at each of them, encoder and decoder.
        spectral_iterations: of each round of the start, see :class:`restore.estimate.process.SpectralProcess`.
        full_iterations: of each of its rounds at full size, for frames with peaks in their spectrum.
        first: networks that correct the start before the others do, so that its spectrum is learnt once more, from
            their frame, with the last round's iterations. They are trained on their own, as a generator without.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192)
    inner_blocks: tuple[int, ...] = (0, 1, 1, 2)
    outer_blocks: int = 2
    extra_residuals: bool = True  # encoder features added to the mirrored decoder level
    path_information: bool = True  # weight and distance planes; without them only values are seen
    texture: bool = False  # the realistic face: detail and noise in place, in strengths that the outer network predicts
    spectral_iterations: tuple[int, ...] = (3, 4, 4, 7)
    full_iterations: tuple[int, ...] = (3, 6)
    first: GeneratorConfig | None = None

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.inner_blocks) or not self.widths:
            raise InvalidInput(
                "inner_blocks",
                self.inner_blocks,
                f"has not one entry for each of the {len(self.widths)} widths",
                "give as many block counts as widths",
            )
        if min(self.widths) < 1 or min(self.inner_blocks) < 0 or self.outer_blocks < 0:
            raise InvalidInput("widths", self.widths, "has an entry below 1", "give positive channel counts")
        if len(self.spectral_iterations) < 2:
            raise InvalidInput("spectral_iterations", self.spectral_iterations, "is no two rounds", "give two or more")
        if self.first is not None and (self.first.first is not None or self.first.texture):
            raise InvalidInput("first", self.first, "are not plain networks", "leave out their first and texture")
        # A file of weights states this, and its hash proves only that somebody computed one.
        largest = {"widths": (*self.widths, 1024), "spectral_iterations": (*self.spectral_iterations, 1024)}
        largest["full_iterations"] = (*self.full_iterations, 1024)
        largest["inner_blocks and outer_blocks"] = (*self.inner_blocks, self.outer_blocks, 64)
        for quantity, (*values, limit) in largest.items():
            if len(values) > 8 or max(values) > limit:
                raise InvalidInput(quantity, values, f"has an entry above {limit}, or more than 8", "use a preset")


PRESETS: dict[str, GeneratorConfig] = {
    "lite": GeneratorConfig(),
    "live": GeneratorConfig(
        widths=(48, 96, 160, 192),
        inner_blocks=(1, 1, 2, 2),
        spectral_iterations=(8, 8, 8, 8, 8, 16),
        first=GeneratorConfig(),
    ),
}
