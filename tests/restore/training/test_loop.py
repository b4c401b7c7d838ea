"""Training resumes exactly, survives what kills it, and does the same on two processes as on one."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from training_tools import TINY, run_of, specimens, tiny

from restore.generator.resident import fast_precision
from restore.training import checkpoint
from restore.training.checkpoint import load_checkpoint
from restore.training.config import Crop, OptimiserConfig, ScheduleConfig, load_config
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.losses import LossConfig
from restore.training.replay import ReplayConfig
from scancontrol.errors import InvalidInput

ROOT = Path(__file__).parents[3]
ADVERSARIAL = LossConfig(adversarial="least_squares", interval_weight=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"replay": ReplayConfig(slots=5, share=0.5), "optimiser": OptimiserConfig(kind="rmsprop")},
        {"loss": LossConfig(running_error_weight=True, clip="code", huberise=True)},
        {"loss": ADVERSARIAL, "crops": (Crop(size=128, batch=1),)},
    ],
    ids=["plain", "replay", "running errors", "adversarial"],
)
def test_twenty_steps_equal_ten_resumed_and_ten_more(tmp_path: Path, changes: dict[str, object]) -> None:
    count = 6 if "crops" in changes else 20
    config = tiny(**changes)
    through = run_of(config, tmp_path / "through")
    rows = [through.step() for _ in range(count)]
    first = run_of(config, tmp_path / "halves")
    for _ in range(count // 2):
        first.step()
    first.save()
    second = run_of(config, tmp_path / "halves")
    second.resume()
    resumed = [second.step() for _ in range(count // 2)]
    assert [row["loss"] for row in resumed] == [row["loss"] for row in rows[count // 2 :]]
    for name, value in through.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
        assert torch.equal(through.average[name], second.average[name]), name


@pytest.mark.slow
def test_training_learns_a_batch_that_it_sees_again_and_again(tmp_path: Path) -> None:
    training = run_of(tiny(optimiser=OptimiserConfig(learning_rate=5e-3)), tmp_path)
    errors = []
    for _ in range(160):
        training.steps_done = training.images_drawn = 0
        errors.append(training.step()["rmse_pct"])
    assert errors[-1] < 0.6 * errors[0]


@pytest.mark.slow
def test_a_run_writes_its_curves_while_it_goes_and_forgets_what_was_not_checkpointed(tmp_path: Path) -> None:
    config = tiny(holdout_groups=("group2",), schedule=ScheduleConfig(kind="cooldown", steps=40))
    training = run_of(config, tmp_path)
    training.run(None, progress=False)
    with (tmp_path / "curve.csv").open() as file:
        assert [int(float(row["step"])) for row in csv.DictReader(file)] == list(range(1, 41))
    with (tmp_path / "validation.csv").open() as file:
        checked = list(csv.DictReader(file))
    assert 0 < float(checked[0]["jittered_1/20_pct"]) < 50
    assert (tmp_path / "curve.png").stat().st_size > 5000
    # Killed twenty steps after the checkpoint: the curve goes on from the checkpoint.
    longer = run_of(msgspec.structs.replace(config, schedule=ScheduleConfig(steps=100)), tmp_path)
    longer.resume()
    for _ in range(20):
        longer.curves.add(longer.step(), 100, quiet=True)
    again = run_of(config, tmp_path)
    again.resume()
    with (tmp_path / "curve.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 40


def test_every_optimiser_of_the_poster_takes_a_step(tmp_path: Path) -> None:
    for kind in ("adam", "rmsprop", "nesterov", "momentum", "sgd"):
        training = run_of(tiny(optimiser=OptimiserConfig(kind=kind)), tmp_path)
        before = training.network.outer.head.weight.clone()
        training.step()
        assert not torch.equal(before, training.network.outer.head.weight), kind


def test_mixed_precision_follows_full_precision_closely(tmp_path: Path) -> None:
    full, mixed = (run_of(tiny(mixed_precision=on), tmp_path) for on in (False, True))
    for _ in range(3):
        one, two = full.step(), mixed.step()
    assert two["rmse_pct"] == pytest.approx(one["rmse_pct"], rel=0.02)
    assert two["rmse_pct"] != one["rmse_pct"], "bfloat16 was at work"
    own = run_of(tiny(mixed_precision="auto"), tmp_path)
    assert own.mixed == (fast_precision(own.device) is torch.bfloat16)


def test_stages_move_only_the_networks_that_they_name(tmp_path: Path) -> None:
    stages = (("inner", "trainer"), ("outer",), ("inner", "outer"))
    for trains in stages:
        loss = LossConfig(trainer_weight=0.3 if "trainer" in trains else 0.0)
        training = run_of(tiny(trains=trains, loss=loss), tmp_path)
        training.network.outer.head.weight.data.normal_(std=0.01)  # so that gradients reach what lies before it
        training.network.trainer.head.weight.data.normal_(std=0.01)
        before = {k: v.clone() for k, v in training.network.state_dict().items()}
        training.step()
        after = training.network.state_dict()
        moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved == set(trains)


def test_a_run_can_start_from_anothers_weights(tmp_path: Path) -> None:
    first = run_of(tiny(), tmp_path / "first")
    first.step()
    first.save()
    second = run_of(tiny(start_from=str(tmp_path / "first")), tmp_path / "second")
    assert all(torch.equal(v, first.average[k]) for k, v in second.network.state_dict().items())


def test_a_larger_generator_starts_by_saying_what_the_smaller_one_says(tmp_path: Path) -> None:
    first = run_of(tiny(), tmp_path / "first")
    for _ in range(5):
        first.step()
    first.save()
    large = msgspec.structs.replace(TINY, widths=(12, 16), inner_blocks=(1, 3), outer_blocks=2)
    second = run_of(tiny(generator=large, start_from=str(tmp_path / "first")), tmp_path / "second")
    batch, _ = first.draw(7)
    small, grown = (
        network.eval()(batch.mean, batch.weight, batch.distance) for network in (first.averaged(), second.network)
    )
    torch.testing.assert_close(grown.frame, small.frame)
    torch.testing.assert_close(grown.log_scale, small.log_scale)
    before = {name: value.clone() for name, value in second.network.state_dict().items()}
    for _ in range(3):
        second.step()
    second.save()
    new = second.network.state_dict()["inner.down.0.weight"][8:] - before["inner.down.0.weight"][8:]
    assert float(new.abs().max()) > 0, "what is new does not learn"
    with pytest.raises(InvalidInput, match="another network"):
        run_of(tiny(start_from=str(tmp_path / "second"), generator=TINY), tmp_path / "shrunk")


def test_a_generator_with_first_networks_starts_with_the_same_weights_in_both_and_trains_the_second(
    tmp_path: Path,
) -> None:
    first = run_of(tiny(), tmp_path / "first")
    for _ in range(5):
        first.step()
    first.save()
    twice = msgspec.structs.replace(TINY, widths=(12, 8), first=TINY)
    second = run_of(tiny(generator=twice, start_from=str(tmp_path / "first")), tmp_path / "second")
    for name, value in second.network.first.state_dict().items():
        assert torch.equal(value, first.average[name])
    assert not second.network.outer.head.weight[:16].any(), "the start has had that correction"
    assert torch.equal(second.network.outer.head.weight[16:, :8], first.average["outer.head.weight"][16:])
    second.step()
    second.save()
    for name, value in second.network.first.state_dict().items():
        assert torch.equal(value, first.average[name]), "first networks were trained"
    resumed = run_of(tiny(generator=twice), tmp_path / "second")
    resumed.resume()
    assert resumed.step()["loss"] == second.step()["loss"]
    smaller = msgspec.structs.replace(twice, first=msgspec.structs.replace(TINY, widths=(4, 8)))
    with pytest.raises(InvalidInput, match="first networks' size"):
        run_of(tiny(generator=smaller, start_from=str(tmp_path / "first")), tmp_path / "other")


def test_a_realistic_run_starts_from_a_faithful_one_and_goes_on_from_itself_only(tmp_path: Path) -> None:
    run_of(tiny(), tmp_path / "faithful").save()
    textured = tiny(start_from=str(tmp_path / "faithful"), generator=msgspec.structs.replace(TINY, texture=True))
    realistic = run_of(textured, tmp_path / "realistic")
    realistic.step()
    realistic.save()
    with pytest.raises(InvalidInput, match="another network"):
        run_of(tiny(start_from=str(tmp_path / "realistic")), tmp_path / "other")


def test_a_full_disk_leaves_the_previous_checkpoint_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = run_of(tiny(), tmp_path)
    training.step()
    training.save()
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    training.step()

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InvalidInput, match="the previous one is intact"):
        training.save()
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


def test_foreign_and_truncated_checkpoints_are_refused_by_name(tmp_path: Path) -> None:
    training = run_of(tiny(), tmp_path)
    training.save()
    path = tmp_path / checkpoint.CHECKPOINT
    other = run_of(tiny(generator="lite"), tmp_path)
    with pytest.raises(InvalidInput, match="of another network"):
        other.resume()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InvalidInput, match="truncated"):
        training.resume()
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(InvalidInput, match="no checkpoint"):
        training.resume()
    path.unlink()
    with pytest.raises(InvalidInput, match="missing"):
        training.resume()


def _command(tmp_path: Path, *more: str) -> list[str]:
    images = tmp_path / "images"
    images.mkdir(exist_ok=True)
    for name, image in zip(specimens().names, specimens().images, strict=True):
        np.save(images / f"{name}.npy", image.numpy())
    config = tmp_path / "run.yaml"
    config.write_text(
        "generator: {kind: spectral, widths: [8, 8], inner_blocks: [0, 1], outer_blocks: 1,"
        " spectral_iterations: [2, 2]}\nsplit: null\ncrops: [{size: 64, batch: 2}]\nloss: {clip: 'off'}\n"
        "schedule: {kind: constant, steps: 100000}\ncheckpoint_minutes: 60\nseed: 5\nout: runs/test\n"
    )
    return ["--config", str(config), "--images", str(images), "--device", "cpu", "--threads", "1", *more]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_terminated_run_saves_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "restore.train", *_command(tmp_path, "--out", str(out), "--quiet")], cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 150
        while not (out / "curve.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    _, notes = load_checkpoint(out / checkpoint.CHECKPOINT)
    with (out / "curve.csv").open() as file:
        written = [int(float(row["step"])) for row in csv.DictReader(file)]
    assert notes["steps_done"] >= max(written) >= 20


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_two_processes_do_what_one_does_with_the_same_whole_batch(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from restore.training import loop; from restore.train import main\n"
        "def run(self, minutes, stop, progress=True):\n"
        "    for _ in range(6): self.step()\n"
        "    self.save()\n"
        "loop.Training.run = run\nsys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "six_steps.py").write_text(script)
    told = _command(tmp_path, "--out", str(tmp_path / "two"), "--quiet")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "six_steps.py"), *told],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = load_checkpoint(tmp_path / "two" / checkpoint.CHECKPOINT)[0]["network"]
    alone = Training(load_config(tmp_path / "run.yaml"), ImageSet.read(tmp_path / "images"), tmp_path / "one")
    for _ in range(6):
        alone.step()
    one = alone.network.state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=2e-3, atol=2e-4, msg=name)


def test_a_batch_that_does_not_divide_among_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not divide among 3"):
        run_of(tiny(), tmp_path, rank=0, world=3)
