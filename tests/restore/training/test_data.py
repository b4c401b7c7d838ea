"""Images are read from anything common, sampled by group, and scanned as a microscope would."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from training_tools import specimens

from restore.training.config import ScheduleConfig, TrainConfig, load_config
from restore.training.crops import crop
from restore.training.drawing import DrawConfig, collate, draw_item
from restore.training.images import MIN_SIDE, ImageSet, epoch_order
from restore.training.random_paths import KINDS, draw_path
from restore.training.replay import HardExamples, Item, ReplayConfig
from restore.training.simulated import simulated_images
from scancontrol.errors import InvalidInput
from scancontrol.micrographs import read_image

CPU = torch.device("cpu")


def _picture() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (70, 90)).astype(np.uint8)


def test_every_common_format_gives_the_same_pixels(tmp_path: Path) -> None:
    picture = _picture()
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "a.tif")
    Image.fromarray(picture).save(tmp_path / "a.webp", lossless=True)
    np.save(tmp_path / "a.npy", picture)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = picture
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_image(path).pixels, picture, err_msg=path.name)


def test_sixteen_bits_survive(tmp_path: Path) -> None:
    picture = (_picture().astype(np.uint16) << 8) + 7
    Image.fromarray(picture).save(tmp_path / "deep.tif")
    Image.fromarray(picture).save(tmp_path / "deep.png")
    for name in ("deep.tif", "deep.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, picture)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((80, 80), 7.0), "one grey level"),
        (np.where(np.eye(80) > 0, np.nan, 1.0), "NaN or Inf"),
        (np.ones((10, 80)), "sides of 64"),
        (np.ones((4, 80, 80)), "a stack"),
    ],
)
def test_images_that_teach_nothing_are_refused_by_name(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", pixels)
    with pytest.raises(InvalidInput, match=message):
        read_image(tmp_path / "bad.npy", MIN_SIDE)


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_image(tmp_path / "object.npy")


def test_a_manifest_names_groups_and_splits(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", _picture())
    (tmp_path / "manifest.csv").write_text("file,group,split\na.npy,g1,train\nb.npy,g1,validation\nc.npy,g2,train\n")
    found = ImageSet.read(tmp_path / "manifest.csv", "train")
    assert found.names == ("a.npy", "c.npy")
    kept, held = found.without(["g2"])
    assert kept.groups == ("g1",)
    assert held.groups == ("g2",)
    with pytest.raises(InvalidInput, match="are not in the data"):
        found.without(["g7"])


def test_a_folder_groups_by_its_first_level(tmp_path: Path) -> None:
    for name in ("one/deep", "two"):
        (tmp_path / name).mkdir(parents=True)
        np.save(tmp_path / name / "x.npy", _picture())
    assert ImageSet.read(tmp_path).groups == ("one", "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no image"):
        ImageSet.read(tmp_path / "empty")


def test_one_unreadable_image_ends_it_before_anything_is_computed_or_is_left_out_if_told_so(tmp_path: Path) -> None:
    for name in ("g1/a", "g2/b", "g3/c"):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / f"{name}.npy", _picture())
    (tmp_path / "g2/b.npy").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"1 of 3 cannot be used.*b\.npy.*--skip-unreadable"):
        ImageSet.read(tmp_path)
    found = ImageSet.read(tmp_path, skip_unreadable=True)
    assert found.groups == ("g1", "g3")
    assert found.names == ("a.npy", "c.npy")


@pytest.mark.slow
def test_simulated_specimens_join_the_images_in_groups_by_kind() -> None:
    found = simulated_images(7, 3)
    assert len(set(found.groups)) == 7
    assert all(image.shape == (512, 512) and image.float().std() > 5 for image in found.images)
    again = simulated_images(2, 3).images
    assert all(torch.equal(a, b) for a, b in zip(found.images[:2], again, strict=True))
    together = specimens() + found
    assert len(together) == 13


@pytest.mark.parametrize(
    ("count", "share", "held"), [(1, 0.2, 0), (2, 0.2, 1), (10, 0.2, 2), (3, 0.9, 2), (10, 0.0, 0)]
)
def test_some_groups_are_held_out_by_share_but_never_all(count: int, share: float, held: int) -> None:
    images = ImageSet.of((np.eye(64), f"g{n % count}", f"{n}.png") for n in range(2 * count))
    groups = images.some_groups(share)
    assert len(set(groups)) == len(groups) == held
    assert set(groups) < set(images.groups)


def test_an_epoch_reads_no_image_twice_and_large_groups_do_not_drown_small_ones() -> None:
    groups = ["large"] * 100 + ["small"] * 4 + ["single"]
    order = epoch_order(groups, 1, 0, 0.5)
    assert len(order) == len(set(order)) == 10 + 2 + 1
    assert order == epoch_order(groups, 1, 0, 0.5)
    assert order != epoch_order(groups, 1, 1, 0.5)
    assert sorted(epoch_order(groups, 1, 0, 1.0)) == list(range(105))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coverage", [0.2, 0.02])
def test_every_path_stays_in_the_field_and_touches_about_its_coverage(kind: str, coverage: float) -> None:
    touched = []
    for seed in range(6):
        where, _ = draw_path(kind, 128, coverage, np.random.default_rng(seed), CPU)
        assert bool(((where >= 0) & (where < 128)).all())
        touched.append(len(torch.unique(where.floor() @ torch.tensor([128.0, 1.0], dtype=where.dtype))) / 128**2)
    assert 0.35 * coverage < np.mean(touched) < 2.0 * coverage


def test_without_noise_samples_are_the_truth_at_their_pixels() -> None:
    draw = DrawConfig(subpixel_share=0, poisson_share=0, lag_share=0)
    items = [draw_item(specimens().images[n], 64, draw, np.random.default_rng(n), CPU) for n in range(3)]
    batch = collate(items)
    read = batch.normalisation.invert(batch.mean)
    on_path = batch.weight > 0
    torch.testing.assert_close(read[on_path], batch.truth[on_path], atol=1e-5, rtol=0)
    assert bool((batch.mean[~on_path] == 0).all())
    assert bool((batch.distance[on_path] == 0).all())
    assert bool((batch.distance[~on_path] >= 1).all())


def test_counting_noise_has_the_variance_of_its_dose() -> None:
    flat = torch.full((96, 96), 128, dtype=torch.uint8)
    flat[0, 0] = 0  # not of one grey level
    draw = DrawConfig(
        patterns={"random": 1.0},
        coverage=(0.5, 0.5),
        poisson_share=1,
        electrons=(100.0, 100.0),
        subpixel_share=0,
        zoom_share=0,
        gamma_share=0,
        invert_share=0,
    )
    item = draw_item(flat, 96, draw, np.random.default_rng(0), CPU)
    assert float(item.values.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(item.values.var()) == pytest.approx((0.5 + 0.02) / 100, rel=0.1)


def test_turned_crops_show_waves_of_the_micrograph_at_every_angle_and_near_their_length() -> None:
    y, x = np.mgrid[:128, :128]
    image = torch.from_numpy((127.5 + 127.5 * np.cos(2 * np.pi * (x + 0.5 * y) / 12)).astype(np.uint8))
    draw = DrawConfig(turn_share=1.0, stretch=1.2, zoom_share=0, gamma_share=0, invert_share=0)
    angles, lengths = [], []
    for seed in range(150):
        patch = crop(image, 64, draw, np.random.default_rng(seed), CPU)
        assert float(patch.min()) >= 0
        assert float(patch.max()) <= 1
        power = torch.fft.rfft2((patch - patch.mean()) * torch.outer(*2 * [torch.hann_window(64)]), s=(256, 256)).abs()
        row, col = divmod(int(power.argmax()), power.shape[1])
        wave = np.array([row if row < 128 else row - 256, col]) / 256
        angles.append(np.degrees(np.arctan2(*wave)) % 180)
        lengths.append(1 / np.hypot(*wave))
    assert (np.histogram(angles, 6, (0, 180))[0] > 10).all(), "some sixth of half a turn was not seen"
    true = 12 / np.hypot(1, 0.5)
    assert true / 1.2 < min(lengths) < true < max(lengths) < true * 1.25


def test_turned_crops_never_leave_the_micrograph() -> None:
    image = torch.arange(1, 101, dtype=torch.uint8)[:, None].repeat(1, 140)  # its border would be mirrored
    draw = DrawConfig(turn_share=1.0, zoom_share=0.5, gamma_share=0, invert_share=0)
    for seed in range(40):
        patch = crop(image, 96, draw, np.random.default_rng(seed), CPU)
        for line in (patch, patch.T):
            slopes = line[:, 1:] - line[:, :-1]
            assert float(slopes.max()) <= 1e-6 or float(slopes.min()) >= -1e-6, "a ramp turned back"


def test_the_same_seed_draws_the_same_scan() -> None:
    one, two = (draw_item(specimens().images[0], 64, DrawConfig(), np.random.default_rng((1, 2)), CPU) for _ in "ab")
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.index, two.index)


def test_replay_keeps_the_hard_and_travels_in_a_checkpoint() -> None:
    rng = np.random.default_rng(0)
    replay = HardExamples(ReplayConfig(slots=50, share=0.2))
    for step in range(2000):
        replay.consider(64, Item(step, 0, step), float(rng.gamma(2.0)) + 10 * (step % 10 == 0), rng)
    hard = [item.step % 10 == 0 for item in replay.slots[64]]
    assert len(hard) == 50
    assert np.mean(hard) > 0.3, "a tenth of all items is hard; far more of the kept ones are"
    drawn = [replay.draw(64, rng) for _ in range(2000)]
    assert np.mean([item is not None for item in drawn]) == pytest.approx(0.2, abs=0.03)
    other = HardExamples(ReplayConfig(slots=50, share=0.2))
    other.restore(replay.state())
    assert other.state() == replay.state()
    assert replay.draw(128, rng) is None, "items of another crop size are not mixed in"


def test_the_authors_learning_rate_policy() -> None:
    policy = ScheduleConfig(kind="ede2020", steps=1600)
    found = [policy.factor(step) for step in range(0, 1600, 50)]
    expected = [3.0] * 8 + [3 * (1 - k / 8) for k in range(8)] + [1.0] * 8 + [1 - k / 8 for k in range(8)]
    assert found == pytest.approx(expected)


def test_a_run_measured_in_minutes_cools_down_with_the_clock() -> None:
    policy = ScheduleConfig(kind="cooldown", minutes=100, warmup_steps=0, cooldown_share=0.5)
    assert policy.factor(5, 0.0) == 1.0
    assert policy.factor(5, 75.0) == pytest.approx(0.5)
    assert policy.factor(5, 100.0) == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop: 3", "unknown field"),
        ("generator: huge", "is no preset"),
        ("crops: [{size: 100}]", "no batch of a multiple"),
        ("crops: []", "no share at all"),
        ("loss: {trainer_weight: 0}", "contradicts trains"),
        ("trains: [inner, trainer]\nloss: {adversarial: hinge}", "needs the outer network"),
        ("generator: ede2020", "nothing to train"),
        ("draw: {patterns: {zigzag: 1}}", "no distribution"),
        ("draw: {coverage: [0.2, 0.1]}", "is not 0 < low"),
        ("schedule: {kind: sometimes}", "is not valid"),
        (": :", "is not YAML"),
        ("seed: " + "[" * 3000, "nests too deeply"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        load_config(tmp_path / "bad.yaml")


def test_every_shipped_configuration_is_read() -> None:
    configs = sorted((Path(__file__).parents[3] / "config").glob("train-*.yaml"))
    assert len(configs) >= 4
    for path in configs:
        assert isinstance(load_config(path), TrainConfig)
