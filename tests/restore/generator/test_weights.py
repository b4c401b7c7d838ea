"""Weights ship without pickle, are checked before use, and restore the same everywhere; intervals hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from training_tools import TINY, run_of, specimens, tiny

from restore.export import export
from restore.generator.generator import Generator
from restore.generator.intervals import COVERAGES, DISTANCES, Calibration, CalibrationCounts, conformal_quantile
from restore.generator.presets import PRESETS
from restore.generator.restorer import GeneratorRestorer, load
from restore.generator.running import run_generator
from restore.generator.weights import Weights, load_weights, save_weights, shipped
from restore.gridding import FrameGeometry
from restore.training.calibrating import calibrate
from restore.training.losses import LossConfig
from scancontrol.errors import InvalidInput

FLAT = Calibration(factors=((2.0,) * (len(DISTANCES) + 1),) * (len(COVERAGES) + 1), trust=0.5)


def _network() -> Generator:
    torch.manual_seed(1)
    network = Generator(TINY)
    for parameter in network.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return network.eval()


def _geometry(n: int = 900, shape: tuple[int, int] = (70, 90)) -> FrameGeometry:
    return FrameGeometry.from_positions(np.random.default_rng(4).random((n, 2)), shape)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    network = _network()
    digest = save_weights(tmp_path / "w.safetensors", network, "tiny", FLAT)
    found = load_weights(tmp_path / "w.safetensors")
    assert (found.name, found.hash, found.calibration, found.face) == ("tiny", digest, FLAT, "faithful")
    geometry, samples = _geometry(), torch.rand(900)
    one = run_generator(network, samples, geometry)
    two = run_generator(found.network, samples, geometry)
    torch.testing.assert_close(one[:2], two[:2], rtol=1e-4, atol=1e-5)


def test_large_weights_ship_in_half_precision_and_restore_what_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = Generator(PRESETS["live"]).eval()
    path = tmp_path / "w.safetensors"
    save_weights(path, network, "live", FLAT)
    assert path.stat().st_size < 16_000_000
    found = load_weights(path).network.state_dict()
    for name, value in network.state_dict().items():
        if not name.startswith("trainer."):
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name], value), f"{name} was rounded before it was saved"


def _rewrite(path: Path, change: str) -> None:
    with safe_open(path, framework="pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    if change == "bit":
        tensors["outer.head.bias"][0] += 1e-6
    elif change == "name":
        metadata["notes"] = metadata["notes"].replace("tiny", "huge")
    elif change == "foreign":
        metadata = {"format": "pt"}
    elif change == "bad calibration":
        notes = json.loads(metadata["notes"])
        notes["calibration"]["factors"][0][0] = -1.0
        metadata["notes"] = json.dumps(notes)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("bit", "hash does not match"),
        ("name", "hash does not match"),
        ("foreign", "not of this program"),
        ("bad calibration", "not of this program|no positive numbers"),
    ],
)
def test_altered_and_foreign_weights_are_refused(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, _network(), "tiny", FLAT)
    _rewrite(path, change)
    with pytest.raises(InvalidInput, match=message):
        load_weights(path)


def test_truncated_missing_and_unfinite_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_weights(path)
    network = _network()
    save_weights(path, network, "tiny")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_weights(path)
    network.outer.head.bias.data[3] = float("nan")
    save_weights(path, network, "tiny")
    with pytest.raises(InvalidInput, match="NaN or Inf"):
        load_weights(path)
    with pytest.raises(InvalidInput, match="do not ship"):
        shipped("enormous")


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(1e-2, 1e3), offset=st.floats(-1e3, 1e3))
def test_restorations_follow_gain_and_offset_exactly(gain: float, offset: float) -> None:
    network = _network()
    geometry = _geometry(500, (48, 64))
    samples = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base, scale, _ = run_generator(network, samples, geometry)
    moved, moved_scale, _ = run_generator(network, samples * gain + offset, geometry)
    torch.testing.assert_close(moved, base * gain + offset, rtol=2e-4, atol=2e-4 * gain + 1e-6 * abs(offset))
    torch.testing.assert_close(moved_scale, scale * gain, rtol=2e-3, atol=1e-6)


def test_a_frame_of_one_grey_level_is_restored_as_that_level() -> None:
    found = GeneratorRestorer(Weights("tiny", _network(), FLAT, "faithful", "h")).restore(
        torch.full((900,), 321.0), _geometry()
    )
    assert torch.equal(found.estimate, torch.full((70, 90), 321.0))
    assert found.made_by.withheld_rmse == 0


def test_the_restorer_measures_its_error_and_says_what_it_is() -> None:
    restorer = GeneratorRestorer(Weights("tiny", _network(), FLAT, "faithful", "abc"))
    geometry = _geometry(3000)
    restorer.prepare(geometry, 1e4)
    found = restorer.restore(torch.rand(3000), geometry)
    assert (found.made_by.method, found.made_by.face, found.made_by.weights_hash) == ("tiny", "faithful", "abc")
    assert found.made_by.withheld_rmse is not None
    assert found.made_by.withheld_rmse == pytest.approx(0.29, abs=0.12), "nothing predicts independent noise"
    assert found.interval is not None
    assert float(found.interval.min()) > 0


def test_conformal_quantiles_cover_as_much_as_they_promise() -> None:
    draw = torch.Generator().manual_seed(0)
    held = [
        float((torch.rand(200, generator=draw) <= conformal_quantile(torch.rand(99, generator=draw))).float().mean())
        for _ in range(400)
    ]
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)
    assert conformal_quantile(torch.rand(5)) == float("inf"), "five scores promise no 90 %"


def test_factors_are_found_by_coverage_and_distance() -> None:
    counts, draw = CalibrationCounts(), torch.Generator().manual_seed(1)
    distance = torch.rand(200, 200, generator=draw) * 20
    distance[:40] = 0
    for touched, spread in ((0.01, 3.0), (0.3, 1.0)):
        error = spread * (1 + (distance > 4.5)) * torch.rand(200, 200, generator=draw)
        counts.add(error, torch.ones_like(error), distance, touched, most=20_000)
    table = Calibration(factors=counts.factors())
    width = table.half_width(torch.ones(1, 4), torch.tensor([[0.0, 2.0, 8.0, 16.0]]), 0.3)
    assert width[0].tolist() == pytest.approx([0.9, 0.9, 1.8, 1.8], rel=0.05)
    assert float(table.half_width(torch.ones(1, 1), torch.zeros(1, 1), 0.005)) == pytest.approx(2.7, rel=0.05)


def test_curves_have_factors_of_their_own() -> None:
    counts, draw = CalibrationCounts(), torch.Generator().manual_seed(1)
    distance, one = torch.zeros(200, 200), torch.ones(1, 1)
    for drawn, spread in ((False, 1.0), (True, 3.0)):
        error = spread * torch.rand(200, 200, generator=draw)
        counts.add(error, torch.ones_like(error), distance, 0.05, drawn)
    table = Calibration(factors=counts.factors(), drawn_factors=counts.factors(drawn=True))
    scattered, curve = (float(table.half_width(one, torch.zeros(1, 1), 0.05, drawn)) for drawn in (False, True))
    assert (scattered, curve) == pytest.approx((0.9, 2.7), rel=0.05)
    alike = Calibration(factors=counts.factors())
    assert float(alike.half_width(one, torch.zeros(1, 1), 0.05, True)) == scattered
    with pytest.raises(ValueError, match="a curve"):
        CalibrationCounts().factors(drawn=True)


def test_intervals_do_not_jump_as_a_frame_fills() -> None:
    rows = tuple((float(k + 1),) * (len(DISTANCES) + 1) for k in range(len(COVERAGES) + 1))
    table = Calibration(factors=rows)
    widths = [float(table.half_width(torch.ones(1, 1), torch.zeros(1, 1), t)) for t in np.geomspace(0.003, 0.5, 200)]
    assert widths[0] == 1
    assert widths[-1] == len(COVERAGES) + 1
    assert np.max(np.abs(np.diff(widths))) < 0.1


def test_a_frame_that_is_harder_than_promised_gets_wider_intervals() -> None:
    scores = torch.rand(200) * 2  # 90 % lie below 1.8 half-widths
    assert FLAT.rescale(scores, 1.0) == pytest.approx(1.8**0.5, rel=0.05)
    assert FLAT.rescale(scores, 0.2) == pytest.approx(1.8**0.1, rel=0.05), "a few arcs may say little"
    assert FLAT.rescale(scores[:10], 1.0) == 1.0, "too few samples say nothing"
    assert Calibration(factors=FLAT.factors).rescale(scores, 1.0) == 1.0


@pytest.mark.parametrize("stated", [False, True])
def test_frames_whose_noise_is_stated_have_a_calibration_of_their_own(stated: bool) -> None:
    flat = msgspec.structs.replace(FLAT, trust=0.0)
    wider = msgspec.structs.replace(flat, factors=tuple(tuple(3 * f for f in row) for row in flat.factors))
    network, geometry, samples = _network(), _geometry(), torch.rand(900, generator=torch.Generator().manual_seed(1))

    def interval(calibration: Calibration) -> torch.Tensor:
        restorer = GeneratorRestorer(
            Weights("tiny", network, calibration, "faithful", ""), share=0.0, precision="single"
        )
        found = restorer.restore(samples, geometry, noise_variance=1e-4 if stated else None).interval
        assert found is not None
        return found

    both = msgspec.structs.replace(flat, stated=wider)
    torch.testing.assert_close(interval(both), interval(flat) * (3 if stated else 1))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_calibrated_interval_holds_on_frames_like_those_it_was_calibrated_on() -> None:
    images = specimens(6, 96)
    weights = Weights("tiny", _network(), None, "faithful", "")
    calibrated = Weights("tiny", weights.network, calibrate(weights, images), "faithful", "")
    restorer = GeneratorRestorer(calibrated)
    inside = []
    for number, image in enumerate(images.images):
        truth = image.float() / 255
        geometry = _geometry(900, (96, 96))
        found = restorer.restore(truth.flatten()[geometry.index], geometry)
        assert found.interval is not None, number
        inside.append(float(((found.estimate - truth).abs() <= found.interval).float().mean()))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("adversarial", "face", "simulated"), [("off", "faithful", ("film",)), ("hinge", "realistic", ())]
)
def test_a_run_is_exported_calibrated_and_loads(
    tmp_path: Path, adversarial: Literal["off", "hinge"], face: str, simulated: tuple[str, ...]
) -> None:
    images = tmp_path / "images"
    for group in ("a", "b"):
        (images / group).mkdir(parents=True)
        for name, image in zip(specimens(2).names, specimens(2).images, strict=True):
            np.save(images / group / f"{name}.npy", image.numpy())
    training = run_of(tiny(split=None), tmp_path / "run")
    training.config = tiny(split=None, holdout_groups=("b",), loss=LossConfig(adversarial=adversarial))
    training.save()
    digest = export(tmp_path / "run", images, tmp_path / "w.safetensors", "tiny", simulated)
    restorer = load(tmp_path / "w.safetensors")
    assert restorer.weights_hash == digest
    weights = load_weights(tmp_path / "w.safetensors")
    assert weights.face == face
    assert weights.calibration is not None
    assert (weights.calibration.stated is None) == (simulated == ())
    assert weights.calibration.stated != weights.calibration
    assert f"{face} face" in (tmp_path / "w.md").read_text()
    assert (tmp_path / "w.safetensors").stat().st_size < 16e6


def test_what_ships_is_small_and_loads() -> None:
    for path in (Path(__file__).parents[3] / "restore" / "weights").glob("*.safetensors"):
        assert path.stat().st_size < 16e6
        assert load_weights(path).calibration is not None
        assert path.with_suffix(".md").exists(), "each has its model card"
