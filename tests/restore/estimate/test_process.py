"""The spectral start is a Gaussian process whose spectrum comes from the samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate import solver as spectral_solver
from restore.estimate.interpolation import (
    _half_by_convolution,
    _phases_by_convolution,
    doubled,
    half_to_phases,
    phases_to_half,
)
from restore.estimate.operator import PixelReading
from restore.estimate.process import STATISTICS, SpectralProcess, spectral_start
from restore.estimate.solver import SpectralSolver
from restore.fills.push_pull import push_pull
from restore.gridding import FrameGeometry
from scancontrol.errors import LocalProtocolError
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from scancontrol.paths.pattern import Pattern


def _scan(truth: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A random partial scan of a normalised frame (rows, cols)."""
    weight = (torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) < share).float()
    return (truth * weight)[None, None], weight[None, None]


def _lattice(size: int, period: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    turn = 2 * torch.pi / period
    return torch.cos(turn * (0.96 * x + 0.28 * y)) + torch.cos(turn * (0.96 * y - 0.28 * x))


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_interpolation_reads_smooth_fields_at_the_pixels_of_full_size() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    full = torch.cos(0.13 * x + 0.4) * torch.sin(0.11 * y)
    # The half-size pixel k is centred between full-size pixels 2k and 2k + 1.
    yh, xh = torch.meshgrid(torch.arange(32.0) * 2 + 0.5, torch.arange(40.0) * 2 + 0.5, indexing="ij")
    half = torch.cos(0.13 * xh + 0.4) * torch.sin(0.11 * yh)
    read = F.pixel_shuffle(torch.stack(half_to_phases(half[None]), 1), 2)[0, 0]
    torch.testing.assert_close(read[4:-4, 4:-4], full[4:-4, 4:-4], atol=3e-3, rtol=0)


def test_interpolation_has_its_exact_transpose() -> None:
    field = torch.randn(2, 20, 24, dtype=torch.float64)
    planes = list(torch.randn(4, 2, 20, 24, dtype=torch.float64))
    forward = sum((a * b).sum() for a, b in zip(half_to_phases(field), planes, strict=True))
    torch.testing.assert_close(forward, (field * phases_to_half(planes)).sum())


def test_a_gpu_interpolates_by_a_convolution_what_a_processor_does_by_slices() -> None:
    field, planes = torch.randn(2, 20, 26), list(torch.randn(4, 2, 20, 26))
    torch.testing.assert_close(torch.stack(half_to_phases(field), 1), _phases_by_convolution(field))
    torch.testing.assert_close(phases_to_half(planes), _half_by_convolution(torch.stack(planes, 1)))


@pytest.mark.parametrize("period", [9.0, 14.0])
def test_a_lattice_is_found_where_a_local_fill_cannot_see_it(period: float) -> None:
    truth = _lattice(128, period)
    mean, weight = _scan(truth, 0.04)
    half = F.avg_pool2d(truth[None, None], 2)
    start = spectral_start(mean, weight)
    assert _rms(start.estimate - half) < 0.25 * _rms(push_pull(mean, weight) - truth)
    assert _rms(start.estimate - half) < 0.3


def test_a_smooth_frame_is_no_worse_for_looking_for_lattices() -> None:
    draw = torch.Generator().manual_seed(3)
    truth = F.interpolate(torch.randn(1, 1, 10, 10, generator=draw), size=128, mode="bicubic")[0, 0]
    truth = truth / truth.std()
    mean, weight = _scan(truth, 0.04)
    half = F.avg_pool2d(truth[None, None], 2)
    assert _rms(spectral_start(mean, weight).estimate - half) < _rms(push_pull(mean, weight) - truth)


def test_more_iterations_only_refine_the_estimate() -> None:
    mean, weight = _scan(_lattice(96, 11.0), 0.08)
    few, many = spectral_start(mean, weight), spectral_start(mean, weight, iterations=(60, 60))
    assert _rms(few.estimate - many.estimate) < 0.1 * _rms(many.estimate)


def test_a_spectrum_learnt_over_several_rounds_is_better_than_one_from_two_rounds_of_as_many_steps() -> None:
    errors = []
    for iterations in ((8, 14), (4, 5, 5, 8)):
        found = []
        for seed in range(3):
            draw = torch.Generator().manual_seed(seed)
            truth = (
                _lattice(128, 9.0 + seed)
                + 0.7 * F.interpolate(torch.randn(1, 1, 24, 24, generator=draw), size=128, mode="bicubic")[0, 0]
            )
            mean, weight = _scan(truth / truth.std(), 0.03, seed)
            half = F.avg_pool2d(truth[None, None] / truth.std(), 2)
            found.append(_rms(spectral_start(mean, weight, iterations=iterations).estimate - half))
        errors.append(sum(found))
    assert errors[1] < 0.98 * errors[0]


def test_a_better_frame_teaches_the_process_a_better_spectrum() -> None:
    draw = torch.Generator().manual_seed(4)
    rough = F.interpolate(torch.randn(1, 1, 20, 20, generator=draw), size=128, mode="bicubic")[0, 0]
    truth = _lattice(128, 8.0) + rough
    truth = truth / truth.std()
    mean, weight = _scan(truth, 0.03)
    half = F.avg_pool2d(truth[None, None], 2)
    process = SpectralProcess(mean, weight)
    start = process.start((4, 5, 5, 8))
    better = start.estimate + 0.7 * (half - start.estimate)
    again = process.again(better, 12)
    assert torch.equal(again.fill, better)
    assert torch.equal(again.before, start.estimate)
    assert _rms(again.estimate - half) < 0.9 * _rms(start.estimate - half)


def test_a_process_is_asked_again_only_after_it_has_started() -> None:
    mean, weight = _scan(_lattice(64, 9.0), 0.1)
    with pytest.raises(LocalProtocolError, match="before the first start"):
        SpectralProcess(mean, weight).again(torch.zeros(1, 1, 32, 32), 4)


def test_the_noise_is_measured() -> None:
    column = STATISTICS.index("log noise")
    levels = []
    for noise in (0.1, 0.5):
        truth = _lattice(128, 16.0) + noise * torch.randn(128, 128, generator=torch.Generator().manual_seed(1))
        levels.append(float(spectral_start(*_scan(truth, 0.1)).statistics[0, column].exp().sqrt()))
    assert levels == pytest.approx([0.1, 0.5], rel=0.5)


def test_padding_without_weight_changes_nothing_but_the_torus() -> None:
    mean, weight = _scan(_lattice(96, 12.0), 0.1)
    plain = spectral_start(mean, weight)
    padded = spectral_start(F.pad(mean, (0, 16)), F.pad(weight, (0, 16)), area=96 * 96)
    assert _rms(padded.estimate[..., :48] - plain.estimate) < 0.05
    coverage = STATISTICS.index("log coverage")
    torch.testing.assert_close(padded.statistics[0, coverage], plain.statistics[0, coverage])


def test_frames_of_one_grey_level_and_of_few_samples_stay_finite() -> None:
    weight = torch.zeros(2, 1, 64, 64)
    weight[:, :, ::16, ::16] = 1
    start = spectral_start(torch.zeros(2, 1, 64, 64), weight)
    for found in (start.fill, start.before, start.estimate, start.statistics):
        assert bool(torch.isfinite(found).all())


def test_a_crystal_is_told_from_a_rough_surface() -> None:
    column = STATISTICS.index("lattice share")
    draw = torch.Generator().manual_seed(3)
    rough = F.interpolate(torch.randn(1, 1, 24, 24, generator=draw), size=192, mode="bicubic")[0, 0]
    shares = [float(spectral_start(*_scan(truth, 0.1)).statistics[0, column]) for truth in (rough, _lattice(192, 11.0))]
    assert shares[0] < 0.05
    assert shares[1] > 0.25


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 5, 13), (1, 1, 2, 3)])
def test_doubling_is_torchs_bicubic_interpolation(shape: tuple[int, ...]) -> None:
    field = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        doubled(field), F.interpolate(field, scale_factor=2, mode="bicubic", align_corners=False), rtol=1e-5, atol=1e-5
    )


def _scanned(pattern: Pattern, size: int) -> tuple[Tensor, Tensor]:
    """Weight (size, size) of a pattern, and the half-size count on the solver's torus."""
    path = expand(PathRecipe(pattern=pattern, shape=(size, size), fov_nm=float(size), dwell_us=1.0))
    weight = torch.zeros(size * size)
    weight[FrameGeometry.from_path(path).index] = 1.0
    return weight.view(size, size), F.pad(F.avg_pool2d(weight.view(1, size, size), 2) * 4, (16,) * 4)


def _clumping(pattern: Pattern, size: int = 256) -> float:
    _, count = _scanned(pattern, size)
    mask = (count > 0).float()
    pairs = torch.fft.irfft2(torch.fft.rfft2(mask).abs().square(), s=mask.shape[-2:])
    reading = PixelReading(count, 0 * count)
    return float(SpectralSolver(reading, reading, size * size / 4.0)._clumping(pairs))


def test_samples_along_one_arc_clump_and_those_of_a_grid_do_not() -> None:
    assert _clumping(JitteredGrid(coverage=CoverageGoal(value=0.05))) == pytest.approx(1, abs=0.15)
    twentieth = _clumping(Archimedean(coverage=CoverageGoal(value=0.05)))
    hundredth = _clumping(Archimedean(coverage=CoverageGoal(value=0.01)))
    assert 1.6 < twentieth < 3
    assert hundredth > 1.5 * twentieth


def test_stripes_are_carried_across_the_gaps_of_a_spiral_along_their_own_direction() -> None:
    draw = torch.Generator().manual_seed(5)
    size = 256
    fy, fx = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)
    across, along = 0.94 * fx + 0.34 * fy, 0.94 * fy - 0.34 * fx
    spectrum = (1 + (across / 0.02) ** 2 + (along / 0.002) ** 2) ** -1.5
    white = torch.fft.rfft2(torch.randn(size, size, generator=draw))
    truth = torch.fft.irfft2(white * spectrum.sqrt(), s=(size, size))
    truth = (truth - truth.mean()) / truth.std()
    weight, _ = _scanned(Archimedean(coverage=CoverageGoal(value=0.05)), size)
    start = spectral_start((truth * weight)[None, None], weight[None, None])
    error = start.estimate[0, 0] - F.avg_pool2d(truth[None, None], 2)[0, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectral_solver, "_SECTOR_DOUBT", 1e12)  # all directions alike
        alike = spectral_start((truth * weight)[None, None], weight[None, None])
    isotropic = alike.estimate[0, 0] - F.avg_pool2d(truth[None, None], 2)[0, 0]
    assert _rms(error) < 0.97 * _rms(isotropic)


def test_waves_that_half_size_pixels_cannot_carry_are_found_at_full_size() -> None:
    truth = _lattice(128, 4.6)
    truth = truth + 0.5 * truth.square()
    truth = (truth - truth.mean()) / truth.std()
    start = spectral_start(*_scan(truth, 0.1), full_iterations=(3, 6))
    assert _rms(start.full - truth) < 0.6 * _rms(start.plain - truth)


def test_a_frame_without_peaks_is_not_solved_for_at_full_size() -> None:
    draw = torch.Generator().manual_seed(2)
    wave = torch.fft.rfft2(torch.randn(128, 128, generator=draw))
    falling = (torch.fft.fftfreq(128)[:, None].square() + torch.fft.rfftfreq(128).square() + 1e-4).pow(-0.75)
    truth = torch.fft.irfft2(wave * falling)
    start = spectral_start(*_scan(truth / truth.std(), 0.1), full_iterations=(3, 6))
    assert torch.equal(start.full, start.plain)
    torch.testing.assert_close(start.plain, F.interpolate(start.estimate, scale_factor=2, mode="bicubic"))
