"""The poster's experiments: what each changes, what it needs, and what is claimed of it."""

from __future__ import annotations

import pytest

from restore.experiments.plans import BASE, CLAIMS, EXPERIMENTS, LOOKED, WARM, Scale, configuration
from scancontrol.errors import InvalidInput

SCALE = Scale(width=1 / 32, size=64, steps=8)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_every_experiment_is_a_configuration_and_only_what_it_names_differs(experiment) -> None:
    base = next(e for e in EXPERIMENTS if e.name == BASE)
    ordinary = configuration(base, SCALE, 3, ("a",))
    for stage in range(len(experiment.stages)):
        config = configuration(experiment, SCALE, 3, ("a",), stage)
        assert config.seed == 3
        assert config.crops == ordinary.crops
        if len(experiment.stages) == 1 and "draw" not in experiment.changes:
            assert config.draw == ordinary.draw
    assert sum(share for _, share in experiment.stages) <= 1


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if e.warm], ids=lambda e: e.name)
def test_what_branches_from_the_shared_steps_has_their_network_and_optimiser(experiment) -> None:
    shared, config = (configuration(e, SCALE, 0, ()) for e in (WARM, experiment))
    assert (config.network, config.optimiser, config.schedule) == (shared.network, shared.optimiser, shared.schedule)


def test_every_run_comes_after_those_that_it_needs() -> None:
    scale = Scale(steps=8, warm_steps=4)
    names = {WARM.name} | {experiment.name for experiment in EXPERIMENTS}
    for experiment in EXPERIMENTS:
        assert experiment.needs(scale) <= names - {experiment.name}
        assert WARM.name not in experiment.needs(Scale(steps=8))
    assert next(e for e in EXPERIMENTS if e.name == "adversarial").needs(scale) == {BASE}


def test_the_parts_of_two_stages_take_as_many_steps_as_one() -> None:
    two = next(e for e in EXPERIMENTS if e.name == "two_stages")
    steps = [configuration(two, SCALE, 0, (), stage).schedule.last_step for stage in range(3)]
    assert sum(step for step in steps if step is not None) == SCALE.steps


def test_every_claim_is_about_experiments_that_exist() -> None:
    names = {experiment.name for experiment in EXPERIMENTS}
    sides = {side for claim in CLAIMS for side in (claim.lower, claim.higher) if isinstance(side, str)}
    assert sides <= names
    for claim in CLAIMS:
        if claim.measure in ("growth", "explained", "fine_power"):
            assert {claim.lower, claim.higher} - {1.0} <= set(LOOKED)


def test_no_run_shares_all_of_its_steps() -> None:
    with pytest.raises(InvalidInput, match="warm_steps = 8 is not below 8 steps"):
        Scale(steps=8, warm_steps=8)
    with pytest.raises(InvalidInput, match="clip_decay"):
        Scale(clip_decay=1.0)
