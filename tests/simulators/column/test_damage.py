"""Beam damage: what the dose does, and why the order of visits matters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulator_tools import acquire, config, path

from scancontrol.errors import InvalidInput
from simulators.column.damage import Damage, DamageConfig, DoseMap, KnockOn
from simulators.microscope import SimulatedMicroscope
from simulators.specimens.library import Crystal


def dosed(settings: DamageConfig, electrons: np.ndarray, elapsed_us: float = 1e5) -> Damage:
    dose = DoseMap((10.0, 10.0), 10.0 / electrons.shape[0])
    damage = Damage(settings, dose, seed=1)
    dose.electrons += electrons
    damage.advance(elapsed_us)
    return damage


def test_a_dose_map_counts_every_electron_where_it_fell():
    dose = DoseMap((4.0, 8.0), 0.5)
    y, x = np.array([-1.99, 1.99, 0.01, 2.01], np.float32), np.array([-3.99, 3.99, 0.01, 0.0], np.float32)
    dose.add(dose.cells(y, x), np.array([1, 2, 3, 4], np.float32))
    assert dose.electrons.shape == (8, 16)
    assert dose.electrons[0, 0] == 1
    assert dose.electrons[7, 15] == 2
    assert dose.electrons[4, 8] == 3
    assert dose.electrons[0, 8] == 4  # the scene repeats
    assert dose.cell_a2 == pytest.approx(25.0)


def test_order_is_half_gone_at_the_critical_dose():
    settings = DamageConfig(critical_dose_e_per_a2=500.0, delocalisation_nm=0.0)
    electrons = np.full((32, 32), 500.0 * (10 / 32) ** 2 * 100)
    assert dosed(settings, electrons).order == pytest.approx(0.5, rel=1e-3)


def test_mass_is_lost_only_past_its_onset():
    settings = DamageConfig(mass_loss=0.4, mass_onset_e_per_a2=100.0, mass_scale_e_per_a2=50.0, delocalisation_nm=0.0)
    per_cell = (10 / 32) ** 2 * 100
    assert dosed(settings, np.full((32, 32), 90 * per_cell)).mass == pytest.approx(1.0)
    assert dosed(settings, np.full((32, 32), 150 * per_cell)).mass == pytest.approx(
        1 - 0.4 * (1 - math.exp(-1)), rel=1e-4
    )


def test_an_electrons_damage_reaches_as_far_as_it_is_delocalised_and_no_dose_is_lost():
    electrons = np.zeros((64, 64))
    electrons[32, 32] = 1000.0
    damage = dosed(DamageConfig(delocalisation_nm=0.4), electrons)
    assert damage.effective.sum() * damage.dose.cell_a2 == pytest.approx(1000.0, rel=1e-3)
    at = (np.arange(64) - 32) * 10 / 64
    spread = np.sqrt((damage.effective * at[:, None] ** 2).sum() / damage.effective.sum())
    assert spread == pytest.approx(0.4, rel=0.02)


def test_neighbours_visited_at_once_suffer_more_than_those_visited_after_a_rest():
    settings = DamageConfig(
        diffusion_nm2_per_s=2.0,
        diffusion_life_s=0.03,
        diffusion_limit_e_per_a2=35.0,
        diffusion_gain=1.0,
        delocalisation_nm=0.2,
    )

    def total(order: list[int], rest_us: float) -> float:
        dose = DoseMap((10.0, 10.0), 10.0 / 64)
        damage = Damage(settings, dose, seed=1)
        for line in order:
            dose.electrons[line] += 400.0
            damage.advance(rest_us)
        return float(damage.effective.sum())

    lines = list(range(24, 40))
    apart = [*lines[::4], *lines[1::4], *lines[2::4], *lines[3::4]]
    assert total(lines, 1e4) > 1.1 * total(apart, 1e4)  # the same dose, in another order
    assert total(lines, 1e4) > 1.1 * total(lines, 1e6)  # the same order, with rests


@pytest.mark.slow
def test_ten_rasters_destroy_what_ten_sparse_frames_leave():
    tender = config(
        specimen=Crystal(structure="cspbbr3", size_nm=3.0, thickness_nm=3.0),
        damage=DamageConfig(critical_dose_e_per_a2=2500.0, mass_loss=0.3, mass_onset_e_per_a2=4000.0),
    )
    contrast = {}
    for pattern in ("raster", "jittered"):
        microscope = SimulatedMicroscope(tender)
        fresh = microscope.exposure.expected_counts((64, 64), 3.0, 2.0)
        for frame in range(10):
            acquire(microscope, path(pattern, dwell_us=0.5), frame)
        used = microscope.exposure.expected_counts((64, 64), 3.0, 2.0, damaged=True)
        contrast[pattern] = used.std() / fresh.std()
    assert contrast["raster"] < 0.5
    assert contrast["jittered"] > 2 * contrast["raster"]


def test_knocked_out_atoms_follow_the_cross_section_and_leave_the_picture():
    sulphur = config(
        specimen=Crystal(structure="mos2", size_nm=3.0),
        damage=DamageConfig(
            critical_dose_e_per_a2=math.inf,
            knock_on=KnockOn(atomic_number=16, cross_section_barn=8000.0),
            delocalisation_nm=0.3,
        ),
    )
    microscope = SimulatedMicroscope(sulphur)
    field = microscope.exposure.specimen.field(3.0, 3.0)
    before = field.layers[0].sum(dtype=float)
    scan = path("raster", dwell_us=2.0, fov_nm=3.2)
    for frame in range(4):
        acquire(microscope, scan, frame)
    damage = microscope.exposure.damage
    atoms = field.scene.atoms
    gone = np.isinf(damage._thresholds) & (atoms.number == 16)
    at = damage.dose.cells(atoms.position_nm[:, 0].astype(np.float32), atoms.position_nm[:, 1].astype(np.float32))
    dose = damage.effective.reshape(-1)[at][atoms.number == 16]
    expected = -np.expm1(-dose * 8000e-8)
    sigma = math.sqrt((expected * (1 - expected)).sum())
    assert 10 < gone.sum() < (atoms.number == 16).sum()
    assert abs(gone.sum() - expected.sum()) < 4 * sigma
    from simulators.specimens.scattering import high_angle_nm2

    cell = field.scene.pitch_nm[0] * field.scene.pitch_nm[1]
    assert before - field.layers[0].sum(dtype=float) == pytest.approx(
        gone.sum() * float(high_angle_nm2(16)) / cell, rel=0.03
    )


@pytest.mark.parametrize(
    "change",
    [
        {"critical_dose_e_per_a2": 0.0},
        {"mass_loss": 2.0},
        {"diffusion_life_s": -1.0},
        {"delocalisation_nm": math.nan},
        {"knock_on": KnockOn(cross_section_barn=-1.0)},
    ],
)
def test_damage_that_cannot_be_is_refused(change):
    with pytest.raises(InvalidInput, match="damage"):
        DamageConfig(**change)
