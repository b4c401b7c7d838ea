"""What is kept of a trained network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from experiment_tools import few_pictures, made_up_look

from restore.experiments.looks import read_look, take_look, write_look
from restore.experiments.measuring import held_out_error
from restore.experiments.plans import EXPERIMENTS, Scale, configuration
from restore.training.images import ImageSet
from restore.training.loop import Training


def test_a_look_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_look(tmp_path) is None
    look = made_up_look(growth=2.0)
    write_look(tmp_path, look)
    found = read_look(tmp_path)
    assert found is not None
    for name in look.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(look, name))


@pytest.mark.slow
def test_a_look_sees_the_error_that_is_measured(tmp_path: Path) -> None:
    images = ImageSet.read(few_pictures(tmp_path / "images"))
    group = sorted(set(images.groups))[0]
    config = configuration(EXPERIMENTS[0], Scale(1 / 32, 64, 8), 0, (group,))
    training = Training(config, images, tmp_path / "run")
    look = take_look(training, 2)
    # The root of a mean is at least the mean of roots.
    assert 100 * np.sqrt(look.raw_square.mean()) >= held_out_error(training, 2).rmse_pct > 0
    on_path = ~np.isnan(look.partial[0])
    assert (look.distance_px[on_path] == 0).all()
    assert (look.distance_px[~on_path] > 0).all()
    np.testing.assert_allclose(look.partial[0][on_path], look.truth[0][on_path], atol=1e-5)
    assert math.isfinite(look.power.sum())
