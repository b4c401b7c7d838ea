"""Crystal structures, each set on a zone axis in a rectangular cell with the beam along z.

Cell lengths at room temperature from the crystallographic literature, in nm: SrTiO3 a = 0.3905; 2H-MoS2 a = 0.316,
2H-WSe2 a = 0.328 (S–S 0.313, Se–Se 0.334 apart along the beam); Si a = 0.5431; cubic CsPbBr3 a = 0.5874;
GaN a = 0.3189, c = 0.5186, u = 0.377; graphene a = 0.246; Au a = 0.4078. Thermal displacements (rms, per
axis) are of the usual size for each.
"""

from __future__ import annotations

import math

from simulators.specimens.atoms import Cell

__all__ = ["CRYSTALS", "gold_001", "gold_110"]

_ROOT3 = math.sqrt(3)


def _sheet_2h(name: str, a_nm: float, metal: int, chalcogen: int, spread_nm: float, thermal_nm: float) -> Cell:
    """One 2H layer along [0001], in the rectangular cell (√3·a, a): hollow hexagons with metal and two chalcogens."""
    thickness = spread_nm + 0.3
    low, high = 0.15 / thickness, (0.15 + spread_nm) / thickness
    return Cell(
        name=name,
        lengths_nm=(_ROOT3 * a_nm, a_nm, thickness),
        basis=(
            (metal, 1 / 6, 0.25, 0.5),
            (metal, 4 / 6, 0.75, 0.5),
            *((chalcogen, y, x, z) for y, x in ((3 / 6, 0.25), (0.0, 0.75)) for z in (low, high)),
        ),
        thermal_nm=thermal_nm,
        layered=True,
    )


def _gallium_nitride() -> Cell:
    """Wurtzite GaN along [11-20]: c upwards, [1-100] to the right, so that its polarity can be seen."""
    a, c, u = 0.3189, 0.5186, 0.377
    ga = ((0.0, 1 / 6, 0.25), (0.0, 4 / 6, 0.75), (0.5, 2 / 6, 0.75), (0.5, 5 / 6, 0.25))
    return Cell(
        name="gan",
        lengths_nm=(c, _ROOT3 * a, a),
        basis=tuple((31, *p) for p in ga) + tuple((7, (y + u) % 1.0, x, z) for y, x, z in ga),
        thermal_nm=0.007,
    )


gold_110 = Cell(
    name="gold [110]",
    lengths_nm=(0.4078, 0.4078 / math.sqrt(2), 0.4078 / math.sqrt(2)),
    basis=((79, 0.0, 0.0, 0.0), (79, 0.5, 0.5, 0.5)),
    thermal_nm=0.009,
)
"""Face-centred cubic gold with [001] along y and the beam along [110]."""

gold_001 = Cell(
    name="gold [001]",
    lengths_nm=(0.4078, 0.4078, 0.4078),
    basis=((79, 0.0, 0.0, 0.0), (79, 0.5, 0.5, 0.0), (79, 0.5, 0.0, 0.5), (79, 0.0, 0.5, 0.5)),
    thermal_nm=0.009,
)

CRYSTALS: dict[str, Cell] = {
    "srtio3": Cell(
        name="srtio3",
        lengths_nm=(0.3905, 0.3905, 0.3905),
        basis=(
            (38, 0.25, 0.25, 0.25),
            (22, 0.75, 0.75, 0.75),
            (8, 0.75, 0.75, 0.25),
            (8, 0.75, 0.25, 0.75),
            (8, 0.25, 0.75, 0.75),
        ),
        thermal_nm=0.0085,
    ),
    "cspbbr3": Cell(  # a halide perovskite: bright, and gone after a few thousand electrons per Å²
        name="cspbbr3",
        lengths_nm=(0.5874, 0.5874, 0.5874),
        basis=(
            (55, 0.25, 0.25, 0.25),
            (82, 0.75, 0.75, 0.75),
            (35, 0.75, 0.75, 0.25),
            (35, 0.75, 0.25, 0.75),
            (35, 0.25, 0.75, 0.75),
        ),
        thermal_nm=0.014,
    ),
    "mos2": _sheet_2h("mos2", 0.316, 42, 16, 0.313, 0.008),
    "wse2": _sheet_2h("wse2", 0.328, 74, 34, 0.334, 0.007),
    "si110": Cell(
        name="si110",
        lengths_nm=(0.5431, 0.5431 / math.sqrt(2), 0.5431 / math.sqrt(2)),
        basis=((14, 0.125, 0.0, 0.0), (14, 0.375, 0.0, 0.5), (14, 0.625, 0.5, 0.5), (14, 0.875, 0.5, 0.0)),
        thermal_nm=0.0078,
    ),
    "gan": _gallium_nitride(),
    "graphene": Cell(
        name="graphene",
        lengths_nm=(_ROOT3 * 0.246, 0.246, 0.34),
        basis=((6, 1 / 12, 0.25, 0.5), (6, 5 / 12, 0.25, 0.5), (6, 7 / 12, 0.75, 0.5), (6, 11 / 12, 0.75, 0.5)),
        thermal_nm=0.006,
        layered=True,
    ),
}
"""The built-in structures by name."""
