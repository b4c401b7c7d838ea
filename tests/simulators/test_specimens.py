"""Specimens: what scatters, how much, and where."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from scancontrol.errors import InvalidInput
from simulators.probe import Probe, wavelength_nm
from simulators.specimens.atoms import Atoms, block
from simulators.specimens.crystals import CRYSTALS
from simulators.specimens.gold import decahedron
from simulators.specimens.library import Crystal, GoldOnCarbon, GrainBoundary, Structure
from simulators.specimens.scattering import high_angle_nm2, low_angle_nm2
from simulators.specimens.scene import Scene, render
from simulators.specimens.specimen import Specimen

ALL = ("HAADF", "ADF", "BF")
ABERRATED = Probe(defocus_nm=15.0, astigmatism_nm=8.0)


def one_atom(y_nm: float, x_nm: float, number: int = 79) -> Scene:
    return Scene(
        (1.6, 1.6), (128, 128), Atoms(np.array([[y_nm, x_nm, 0.0]]), np.array([number], np.int16), np.array([0.01]))
    )


@pytest.fixture(scope="module")
def strontium_titanate() -> Specimen:
    return Specimen(Crystal(size_nm=3.0, thickness_nm=4.0), Probe(), ALL)


@pytest.mark.parametrize("number", [6, 38, 79])
def test_the_field_of_an_atom_integrates_to_its_cross_section(number):
    field = render(one_atom(0.123, -0.456, number), ABERRATED, low=True)
    area = (1.6 / 128) ** 2
    assert field.layers[0].sum(dtype=float) * area == pytest.approx(float(high_angle_nm2(number)), rel=2e-3)
    assert field.layers[1].sum(dtype=float) * area == pytest.approx(float(low_angle_nm2(number)), rel=2e-3)


@pytest.mark.parametrize(
    ("number", "nm2"),
    [
        (6, 1.43e-6),
        (8, 2.48e-6),
        (14, 7.61e-6),
        (22, 1.70e-5),
        (38, 4.86e-5),
        (42, 5.79e-5),
        (55, 9.26e-5),
        (74, 1.62e-4),
        (79, 1.82e-4),
        (82, 1.94e-4),
    ],
)
def test_high_angle_scattering_is_that_of_the_tabulated_atoms(number, nm2):
    # the elastic cross section into 60-135 mrad at 200 kV, integrated over Lobato and Van Dyck's scattering factors
    assert float(high_angle_nm2(number)) == pytest.approx(nm2, rel=0.06)


def test_an_atom_between_the_nodes_looks_like_one_on_a_node():
    offsets = np.linspace(-0.2, 0.2, 41).astype(np.float32)
    on_node = render(one_atom(0.0, 0.0), Probe()).lookup(offsets, np.zeros_like(offsets))[0]
    for y, x in ((0.00625, 0.0), (0.0031, -0.0044), (0.3307, 0.2211)):
        moved = render(one_atom(y, x), Probe()).lookup(offsets + np.float32(y), np.full_like(offsets, x))[0]
        np.testing.assert_allclose(moved, on_node, atol=0.03 * on_node.max())  # of bilinear lookup


def test_columns_stand_where_the_structure_says_and_strontium_outshines_titanium(strontium_titanate):
    a = 0.3905
    cells = np.arange(-2, 3)
    extent = strontium_titanate.field(3.0, 3.0).extent_nm
    origin = -extent[0] / 2
    strontium = origin + (0.25 + cells + 4) * a
    y, x = (grid.ravel() for grid in np.meshgrid(strontium, strontium, indexing="ij"))
    bright = strontium_titanate.scattered(("HAADF",), y, x)[0]
    titanium = strontium_titanate.scattered(("HAADF",), y + a / 2, x + a / 2)[0]
    oxygen = strontium_titanate.scattered(("HAADF",), y + a / 2, x)[0]
    assert np.ptp(bright) < 0.03 * bright.mean()
    # Ti and O stand in one column
    expected = float((high_angle_nm2(22) + high_angle_nm2(8)) / high_angle_nm2(38))
    assert np.log1p(-titanium).mean() / np.log1p(-bright).mean() == pytest.approx(expected, rel=0.12)
    assert oxygen.mean() < 0.5 * titanium.mean()
    for dy, dx in ((0.03, 0), (-0.03, 0), (0, 0.03), (0, -0.03)):
        assert (strontium_titanate.scattered(("HAADF",), y + dy, x + dx)[0] < bright).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=50))
def test_every_electron_lands_on_exactly_one_detector_wherever_the_beam_is(strontium_titanate, places):
    y, x = np.array(places, np.float32).T
    fractions = strontium_titanate.scattered(ALL, y, x)
    assert (fractions >= 0).all()
    assert (fractions <= 1).all()
    np.testing.assert_allclose(fractions.sum(axis=0), 1, atol=1e-6)


def test_bright_field_is_dark_where_the_annular_detectors_are_bright(strontium_titanate):
    axis = np.linspace(-1, 1, 60)
    y, x = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    high, low, bright_field = strontium_titanate.scattered(ALL, y, x)
    assert np.corrcoef(high + low, bright_field)[0, 1] < -0.999
    assert np.corrcoef(high, low)[0, 1] > 0.9


def test_a_field_of_512_by_512_positions_takes_less_than_50_ms(strontium_titanate):
    y, x = np.random.default_rng(1).uniform(-1.5, 1.5, (2, 512 * 512)).astype(np.float32)
    field = strontium_titanate.field(3.0, 3.0)
    field.lookup(y, x)
    took = []
    for _ in range(5):
        begun = time.process_time()
        field.lookup(y, x)
        took.append(time.process_time() - begun)
    assert min(took) < 0.05


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_every_built_in_structure_has_the_density_and_the_distances_of_its_crystal(name):
    cell = CRYSTALS[name]
    nearest = {
        "srtio3": 0.195,
        "cspbbr3": 0.2937,
        "mos2": 0.2406,
        "wse2": 0.2527,
        "si110": 0.2352,
        "gan": 0.1949,
        "graphene": 0.142,
    }[name]
    atoms = block(cell, (2.4, 2.4), 1.2)
    middle = atoms.position_nm[np.argsort((atoms.position_nm**2)[:, :2].sum(axis=1))[: len(atoms) // 3]]
    distances = np.linalg.norm(middle[:, None] - atoms.position_nm[None], axis=2)
    np.fill_diagonal(distances, 9)
    distances[distances < 1e-6] = 9
    # atoms at the surface of the block may lack the neighbour; those of the middle do not
    assert np.median(distances.min(axis=1)) == pytest.approx(nearest, rel=0.01)


def test_a_decahedron_looks_the_same_after_a_fifth_of_a_turn_and_has_no_two_atoms_in_one_place():
    atoms = decahedron(3.0)
    tree = cKDTree(atoms.position_nm)
    distance, _ = tree.query(atoms.position_nm, k=2)
    assert distance[:, 1].min() > 0.2
    columns = cKDTree(atoms.position_nm[:, :2])
    apart, _ = columns.query(atoms.turned(72.0).position_nm[:, :2])
    assert np.quantile(apart, 0.95) < 0.005
    apart, _ = columns.query(atoms.turned(30.0).position_nm[:, :2])
    assert np.quantile(apart, 0.95) > 0.03


def test_vacancies_darken_and_dopants_brighten():
    def mean(**changes):
        specimen = Specimen(Crystal(structure="mos2", size_nm=2.0, **changes), Probe())
        axis = np.linspace(-1, 1, 60)
        y, x = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        return specimen.scattered(("HAADF",), y, x).mean()

    whole = mean()
    assert mean(vacancy_fraction=0.5, vacancy_number=16) < 0.95 * whole
    assert mean(dopant_fraction=0.5, dopant_host=42, dopant_number=74) > 1.3 * whole


def test_a_boundary_joins_two_crystals_turned_against_each_other():
    scene = GrainBoundary(size_nm=6.0, thickness_nm=0.5, boundary_fraction=1.0, dopant_fraction=0.0).scene(6, 6, 0)
    x = scene.atoms.position_nm[:, 1]
    assert np.abs(x[scene.atoms.number == 57]).max() < 0.6
    for side, angle in ((-1, 18.435), (1, -18.435)):
        bulk = scene.atoms.keep((side * x > 1.0) & (scene.atoms.number == 38)).turned(-angle).position_nm
        phase = np.exp(2j * np.pi * bulk[:, :2] / 0.3905).mean(axis=0)  # 1 for a perfect lattice along the axes
        assert (np.abs(phase) > 0.98).all()


@pytest.mark.slow
def test_a_growing_specimen_changes_from_frame_to_frame_and_a_still_one_does_not():
    growing = GoldOnCarbon(size_nm=8.0, adatoms=5, clusters=0, growth_nm_per_frame=0.3)
    first, later, again = (growing.scene(8, 8, frame) for frame in (0, 3, 3))
    assert len(later.atoms) > len(first.atoms)
    np.testing.assert_array_equal(later.atoms.position_nm, again.atoms.position_nm)
    assert growing.evolves
    assert not GoldOnCarbon().evolves


def test_the_probe_broadens_with_defocus_and_stretches_with_astigmatism():
    def widths(**changes):
        density, pitch = Probe(**changes).intensity()
        at = (np.arange(len(density)) - len(density) // 2) * pitch
        near = np.abs(at) < 1.5
        core = density[np.ix_(near, near)]
        core = core / core.sum()
        return np.sqrt((core.sum(axis=1) * at[near] ** 2).sum()), np.sqrt((core.sum(axis=0) * at[near] ** 2).sum())

    focused = widths()
    assert min(widths(defocus_nm=15.0)) > 1.3 * max(focused)
    stretched = widths(astigmatism_nm=10.0, defocus_nm=10.0)
    assert stretched[1] > 1.5 * stretched[0]


def test_the_transfer_of_an_ideal_lens_is_the_overlap_of_two_discs():
    probe = Probe(source_fwhm_nm=0.0)
    share = np.linspace(0, 1, 11)
    k = share * probe.cutoff_per_nm
    overlap = (2 / np.pi) * (np.arccos(share) - share * np.sqrt(1 - share**2))
    np.testing.assert_allclose(probe.transfer(np.zeros(1), k)[0], overlap, atol=0.01)


def test_electrons_of_200_kev_have_the_wavelength_of_the_textbooks():
    assert wavelength_nm(200.0) == pytest.approx(0.0025079, rel=1e-4)


@pytest.mark.parametrize(
    ("specimen", "named"),
    [
        (lambda: Crystal(structure="unobtainium"), "structure"),
        (lambda: Crystal(structure=Structure(cell_nm=(-1.0, 0.4, 0.4), atoms=((6, 0, 0, 0),))), "cell_nm"),
        (lambda: Crystal(structure=Structure(cell_nm=(0.4, 0.4, 0.4), atoms=())), "atoms"),
        (lambda: Crystal(structure=Structure(cell_nm=(0.4, 0.4, 0.4), atoms=((0, 0, 0, 0),))), "atomic number"),
        (lambda: Crystal(structure=Structure(cell_nm=(0.4, 0.4, 0.4), atoms=((6, 0, 0, float("nan")),))), "position"),
        (
            lambda: Crystal(structure=Structure(cell_nm=(0.4, 0.4, 0.4), atoms=((6, 0, 0, 0), (8, 0.99, 0, 0)))),
            "distance",
        ),
        (lambda: Crystal(size_nm=float("inf")), "size_nm"),
        (lambda: Crystal(thickness_nm=-1.0), "thickness_nm"),
        (lambda: Crystal(dopant_fraction=0.1), "dopant"),
        (lambda: GoldOnCarbon(film_nm=0.0), "film_nm"),
    ],
)
def test_a_specimen_that_makes_no_sense_is_refused_by_name(specimen, named):
    with pytest.raises(InvalidInput, match=named):
        specimen()


def test_a_specimen_of_too_many_atoms_says_what_to_lower():
    with pytest.raises(InvalidInput, match=r"lower specimen\.size_nm"):
        block(CRYSTALS["srtio3"], (50.0, 50.0), 200.0)
