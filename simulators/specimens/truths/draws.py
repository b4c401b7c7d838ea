"""Specimens by kind and by name.

``draw`` is for training: any kind, any period. ``named`` is for tables: the same specimen for the same name and shape.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from scancontrol.errors import InvalidInput
from simulators.specimens.truths import lattices, objects
from simulators.specimens.truths.columns import hexagonal, oblique, square, two_species
from simulators.specimens.truths.lattices import LONGEST_PERIOD_PX, SHORTEST_PERIOD_PX, Kind
from simulators.specimens.truths.truth import Truth

__all__ = ["KINDS", "RANDOM_KINDS", "STANDARD", "draw", "named"]

KINDS: dict[str, Kind] = {
    "square": lattices.perfect("square", square),
    "hexagonal": lattices.perfect("hexagonal", hexagonal),
    "oblique": lattices.perfect("oblique", lambda period_px: oblique(period_px, 1.25, 105.0)),
    "two_species": lattices.perfect("two_species", two_species),
    "doped": lattices.perfect("doped", two_species, dopants=0.02),
    "strained": lattices.strained,
    "bent": lattices.bent,
    "wedge": lattices.wedge,
    "antiphase": lattices.antiphase,
    "tilt_boundary": lattices.tilt_boundary,
    "two_grains": lattices.two_grains,
    "particles": objects.particles,
    "film": objects.film,
    "crystal_particles": objects.crystal_particles,
    "random_cell": lattices.random_cell,
    "random_columns": lattices.random_columns,
    "random_grains": lattices.random_grains,
}
"""Every kind of specimen; those without a lattice of one period take no notice of a period that is asked for."""

RANDOM_KINDS = ("random_cell", "random_columns", "random_grains")
"""Kinds in which nearly everything is drawn."""

STANDARD = (
    *(f"two_species-{period}px" for period in (7, 10, 16, 28)),
    "square-6px",
    "square-12px",
    "hexagonal-9px",
    "hexagonal-20px",
    "oblique-14px",
    "doped-16px",
    "strained-12px",
    "bent-12px",
    "wedge-12px",
    "antiphase-12px",
    "tilt_boundary-12px",
    "two_grains-12px",
    "crystal_particles-10px",
    "particles",
    "film",
)
"""Names of the specimens that ``restore.evaluate`` shows unless told otherwise."""

_NAME = re.compile(r"(?P<kind>[a-z_]+)(-(?P<period>\d+(\.\d+)?)px)?(#(?P<seed>\d+))?")


def draw(kind: str | None, shape: tuple[int, int], rng: np.random.Generator, period_px: float | None = None) -> Truth:
    """A specimen of ``kind``, or of any; what is not given is drawn from ``rng``.

    Args:
        kind: of :data:`KINDS`; None draws one, every second time one of :data:`RANDOM_KINDS`.
        shape: of the field, (rows, cols).
        rng: draws everything else.
        period_px: of the lattice, 4 to 30; None draws one.

    Raises:
        InvalidInput: there is no such kind, or the period is outside 4 to 30 px.
    """
    if kind is None:
        kind = str(rng.choice(RANDOM_KINDS if rng.random() < 0.5 else tuple(KINDS)))
    if kind not in KINDS:
        raise InvalidInput("specimen", repr(kind), "is not a known kind", f"choose from {', '.join(KINDS)}")
    if period_px is not None and not SHORTEST_PERIOD_PX <= period_px <= LONGEST_PERIOD_PX:
        raise InvalidInput(
            "period_px",
            period_px,
            f"is outside {SHORTEST_PERIOD_PX:g} to {LONGEST_PERIOD_PX:g}",
            "name one that a frame shows",
        )
    return KINDS[kind](shape, rng, period_px)


def named(name: str, shape: tuple[int, int]) -> Truth:
    """The specimen of that name: ``KIND``, ``KIND-PERIODpx``, either with ``#SEED`` for another one of its sort.

    Raises:
        InvalidInput: the name is not of that form, or its kind or period do not exist.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidInput(
            "specimen", repr(name), "is not a specimen's name", "write it like two_species-7px or film#2"
        )
    kind, period = found["kind"], found["period"]
    rng = np.random.default_rng((zlib.crc32(kind.encode()), int(found["seed"] or 0)))
    return draw(kind, shape, rng, None if period is None else float(period))
