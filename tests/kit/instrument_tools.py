"""A path for an instrument of eight megahertz, and reading an instrument to its path's end."""

import time

import numpy as np

from scancontrol.paths import expand
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import PathRecipe


def path_of(pattern=None, *, shape=(32, 32), dwell_us=0.5, settle=None):
    return expand(
        PathRecipe(
            pattern=pattern or Raster(),
            shape=shape,
            fov_nm=20.0,
            dwell_us=dwell_us,
            settle=settle,
            dac_bits=14,
            clock_mhz=8,
        )
    )


def read_all(instrument, count, timeout_s=5.0):
    blocks, total = [], 0
    deadline = time.monotonic() + timeout_s
    while total < count:
        assert time.monotonic() < deadline, f"{total} of {count} samples came"
        block = instrument.read(1000)
        if block is not None:
            assert block.values.shape[0] == 1
            assert block.values.shape[1] <= 1000
            blocks.append(block)
            total += block.values.shape[1]
    return np.concatenate([block.values[0] for block in blocks]), sum(block.electrons for block in blocks)
