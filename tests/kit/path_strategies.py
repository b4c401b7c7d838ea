"""Recipes of every kind, for tests that hold for all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from scancontrol.paths import (
    Archimedean,
    CoverageGoal,
    Crossed,
    EdeGrid,
    EdeSpiral,
    Fermat,
    Hilbert,
    Interlaced,
    JitteredGrid,
    LineHop,
    Lissajous,
    MomentumWalk,
    PathRecipe,
    Points,
    Raster,
    Region,
    Serpentine,
    Settle,
    UniformRandom,
)

GIVEN = {
    "raster": st.builds(Raster, lines=st.integers(1, 40), samples_per_line=st.integers(1, 40)),
    "raster_full": st.just(Raster()),
    "serpentine": st.builds(Serpentine, lines=st.integers(1, 40), samples_per_line=st.integers(1, 40)),
    "interlaced": st.builds(Interlaced, lines=st.integers(1, 40), fields=st.integers(2, 5)),
    "archimedean": st.builds(
        Archimedean,
        turn_spacing_px=st.floats(1.0, 60.0),
        speed=st.sampled_from(["linear", "angular"]),
        max_turns_per_sample=st.none() | st.floats(0.002, 0.2),
        extent=st.sampled_from(["corners", "inscribed"]),
    ),
    "fermat": st.builds(Fermat, turns=st.floats(0.3, 15.0), extent=st.sampled_from(["corners", "inscribed"])),
    "jittered_grid": st.builds(
        JitteredGrid, points=st.integers(1, 300), jitter=st.floats(0, 1), seed=st.integers(0, 99)
    ),
    "momentum_walk": st.builds(
        MomentumWalk,
        channels=st.integers(1, 6),
        amplitude_px=st.floats(0.2, 4),
        step_px=st.floats(0.7, 3),
        transpose=st.sampled_from(["own", "independent", "none"]),
        seed=st.integers(0, 99),
    ),
    "line_hop": st.builds(LineHop, points=st.integers(1, 400), hop_px=st.integers(1, 6), seed=st.integers(0, 99)),
    "uniform_random": st.builds(
        UniformRandom, points=st.integers(1, 250), order=st.sampled_from(["tour", "curve"]), seed=st.integers(0, 99)
    ),
    "hilbert": st.builds(Hilbert, nodes=st.tuples(st.integers(1, 17), st.integers(1, 17)), step_px=st.floats(0.5, 4)),
    "crossed": st.builds(
        Crossed,
        pattern=st.builds(Archimedean, turn_spacing_px=st.floats(2.0, 60.0))
        | st.builds(JitteredGrid, points=st.integers(1, 300), seed=st.integers(0, 99)),
        crossings=st.sampled_from([1, 2]),
    ),
    "lissajous": st.builds(Lissajous, cycles=st.floats(0.5, 8), beats=st.floats(0.1, 3)),
    "ede_spiral": st.builds(EdeSpiral, one_in=st.floats(4, 60), blurred=st.booleans(), vertices=st.just(2000)),
    "ede_grid": st.builds(EdeGrid, fraction=st.floats(0.02, 0.2), seed=st.integers(0, 99)),
    "points": st.integers(1, 60).flatmap(
        lambda n: st.builds(
            lambda seed, columns: Points.from_array(
                np.random.default_rng(seed).random((n, columns)) * 0.999 + (0, 0, 0.001)[:columns]
            ),
            st.integers(0, 99),
            st.sampled_from([2, 3]),
        )
    ),
}
"""Patterns with their own parameters given, by kind."""

FREE = {
    "raster": Raster(),
    "serpentine": Serpentine(),
    "interlaced": Interlaced(),
    "archimedean": None,
    "angular": None,
    "fermat": None,
    "jittered_grid": None,
    "momentum_walk": None,
    "line_hop": None,
    "uniform_random": None,
    "hilbert": Hilbert(),
    "lissajous": None,
}
"""Kinds whose free parameter can be solved for."""


def asking(kind: str, value: float, by: str = "touched", seed: int = 0):
    """A pattern of ``kind`` that asks for a coverage."""
    goal = CoverageGoal(value=value, by=by)
    seeded = {
        "jittered_grid": JitteredGrid,
        "momentum_walk": MomentumWalk,
        "line_hop": LineHop,
        "uniform_random": UniformRandom,
    }
    if kind in seeded:
        more = {"order": "curve"} if kind == "uniform_random" else {}  # the tour has tests of its own
        return seeded[kind](coverage=goal, seed=seed, **more)
    if kind == "angular":
        return Archimedean(coverage=goal, speed="angular")
    plain = {
        "raster": Raster,
        "serpentine": Serpentine,
        "interlaced": Interlaced,
        "archimedean": Archimedean,
        "fermat": Fermat,
        "hilbert": Hilbert,
        "lissajous": Lissajous,
    }
    return plain[kind](coverage=goal)


any_pattern = st.one_of(*GIVEN.values())

settles = st.none() | st.builds(
    Settle,
    time_constant_us=st.floats(0, 20),
    tolerance_px=st.floats(0.05, 1),
    flyback_us=st.floats(0, 50),
    order=st.sampled_from([1, 2]),
    damping=st.sampled_from([0.5, 1.0, 2.0]),
)


@st.composite
def recipes(draw: st.DrawFn, square: bool = False) -> PathRecipe:
    """A recipe of any kind on a small frame; square ones where the pattern needs it."""
    pattern = draw(any_pattern)
    rows = draw(st.integers(24, 48))
    cols = rows if square or isinstance(pattern, (EdeSpiral, EdeGrid)) else draw(st.integers(24, 48))
    region = Region()
    if not isinstance(pattern, (EdeSpiral, EdeGrid, LineHop, UniformRandom)) and draw(st.booleans()):
        region = Region(y=0.3, x=0.35, height=0.4, width=0.3)
    rotation = draw(st.sampled_from([0.0, 90.0, -180.0, 17.0])) if region != Region() or rows == cols else 0.0
    if rotation == 17.0 and region == Region():
        rotation = 270.0
    return PathRecipe(
        pattern=pattern,
        shape=(rows, cols),
        fov_nm=draw(st.floats(1, 1e4)),
        dwell_us=draw(st.floats(0.2, 100)),
        region=region,
        rotation_deg=rotation,
        settle=draw(settles),
        dac_bits=draw(st.none() | st.integers(10, 18)),
        clock_mhz=draw(st.none() | st.sampled_from([8.0, 100.0])),
    )
