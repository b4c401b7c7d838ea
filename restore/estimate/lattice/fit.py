"""A lattice with a bent field, fitted to samples: the model, and the rounds in which its parts are found.

    sample = level(p) + amplitude(p) · cell(G (p − d(p))) + noise

with a cell of a few dozen harmonics and three smooth fields: level, amplitude and displacement d. Given the others,
each part is a linear fit but for the displacement, which takes Gauss–Newton steps. A bent lattice is found from a
straight one by letting go slowly: first an affine map and slow harmonics only, then control points that may bend, then
all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restore.estimate.lattice.cell import Cell, CellSums, harmonics_of, look_up
from restore.estimate.lattice.splines import Splines, roughness

__all__ = ["LatticeFit", "Readings", "fit_lattice", "refit"]

_LEVEL_POINTS = 12
_AMPLITUDE_POINTS = 8
_DISPLACEMENT_POINTS = 7
_PERIODS = 3.0
_SAMPLES = 16.0  # to a control point
_BEND_PX = 1.5  # prior deviation of a displacement's second differences between control points
_LEVEL_ROUGHNESS = 0.3  # the same of the level, in deviations of the samples
_AMPLITUDE_ROUGHNESS = 0.15
_LEVEL_ANCHOR = 1e-4  # how much an affine field costs, against rough ones
_AMPLITUDE_ANCHOR = 0.02
_LEAST_VARIANCE = 0.1  # of the mean
_OUTLIER = 6.0  # degrees of freedom of the residuals' Student distribution


@dataclass(frozen=True)
class Readings:
    """Samples of one frame for a fit, on a scale of their own.

    Attributes:
        values: (n,) float32; positions: (n, 2) in pixels; weights: (n,), 0 for what does not count.
        shape: of the frame.
    """

    values: Tensor
    positions: Tensor
    weights: Tensor
    shape: tuple[int, int]


@dataclass(frozen=True)
class LatticeFit:
    """One lattice: all that is needed to read it anywhere in the frame.

    Attributes:
        pair: reciprocal vectors (2, 2) in cycles per pixel, rows.
        cell: its mean cell.
        displacement: control values (2, k²) in pixels; amplitude, level: control values (k²,).
        covariance: of the displacement's control values (2 k², 2 k²), y before x.
        noise: mean variance of a sample of weight 1 about the fit.
        counting: (a, b): relative to that mean the variance is a + b · picture, as counted electrons have it.
    """

    shape: tuple[int, int]
    pair: Tensor
    cell: Cell
    displacement: Tensor
    amplitude: Tensor
    level: Tensor
    covariance: Tensor
    noise: float
    counting: tuple[float, float] = (1.0, 0.0)

    def relative_variance(self, picture: Tensor) -> Tensor:
        """The noise's variance relative to its mean where the lattice's picture has these values."""
        return (self.counting[0] + self.counting[1] * picture).clamp_min(_LEAST_VARIANCE)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lattice coordinates (n, 2) of positions (n, 2) in pixels."""
        bent = positions - _splines(self.shape, self.displacement).at(positions) @ self.displacement.T
        return (bent.double() @ self.pair.T.double()).float()

    def amplitude_at(self, positions: Tensor) -> Tensor:
        """The lattice's amplitude at positions (n, 2): (n,)."""
        return _splines(self.shape, self.amplitude).at(positions) @ self.amplitude

    def level_at(self, positions: Tensor) -> Tensor:
        """The mean level at positions (n, 2): (n,)."""
        return _splines(self.shape, self.level).at(positions) @ self.level

    def at(self, positions: Tensor) -> Tensor:
        """The lattice's picture at positions (n, 2): (n,)."""
        values = look_up(self.cell.table()[:1], self.coordinates(positions))[0]
        return self.level_at(positions) + self.amplitude_at(positions) * values

    def field(self) -> Tensor:
        """The displacement on every pixel, (2, rows, cols) in pixels."""
        return _splines(self.shape, self.displacement).image(self.displacement)

    def image_coordinates(self) -> Tensor:
        """Lattice coordinates of every pixel, (rows, cols, 2)."""
        rows, cols = self.shape
        field = self.field()
        y = torch.arange(rows, dtype=field.dtype, device=field.device)[:, None] - field[0]
        x = torch.arange(cols, dtype=field.dtype, device=field.device) - field[1]
        pair = self.pair.to(field.dtype)
        return torch.stack([pair[n, 0] * y + pair[n, 1] * x for n in (0, 1)], -1)


def _splines(shape: tuple[int, int], control: Tensor) -> Splines:
    return Splines(shape, round(control.shape[-1] ** 0.5))


def _solve(design: Tensor, target: Tensor, weights: Tensor, rough: Tensor, deviation: float) -> tuple[Tensor, float]:
    """Ridge regression on second differences of a prior deviation, and the deviation that the solution makes likely.

    The latter is one round of expectation maximisation. ``weights`` are inverse variances.
    """
    normal = ((design * weights[:, None]).T @ design).double()
    inverse = torch.linalg.inv(normal + rough / deviation**2)
    control = inverse @ (design.T @ (weights * target)).double()
    learnt = float(control @ rough @ control + (rough * inverse).sum()) / len(rough)
    return control.to(design.dtype), learnt**0.5


def _anchored(count: int, anchor: float, device: torch.device) -> Tensor:
    """Roughness of a field, in which what is affine costs a little too."""
    return roughness(count).to(device) + anchor * torch.eye(count**2, dtype=torch.float64, device=device)


class _Rounds:
    """The rounds of one fit: designs that depend on the positions only are made once."""

    def __init__(self, readings: Readings, fit: LatticeFit) -> None:
        self.readings, self.fit = readings, fit
        shape, positions = readings.shape, readings.positions
        level, amplitude = _splines(shape, fit.level), _splines(shape, fit.amplitude)
        self._level_design, self._amplitude_design = level.at(positions), amplitude.at(positions)
        self._level_rough = _anchored(level.count, _LEVEL_ANCHOR, positions.device)
        self._amplitude_rough = _anchored(amplitude.count, _AMPLITUDE_ANCHOR, positions.device)
        self._level_deviation, self._amplitude_deviation = _LEVEL_ROUGHNESS, _AMPLITUDE_ROUGHNESS
        self._trust = torch.ones_like(readings.weights)
        self._relative = torch.ones_like(readings.weights)
        self._variance = float(readings.values.var())
        self._bend(round(fit.displacement.shape[-1] ** 0.5))

    def _bend(self, count: int) -> None:
        splines = Splines(self.readings.shape, count)
        self._bend_design = splines.at(self.readings.positions)
        self._bend_rough = roughness(count).to(self.readings.positions.device)

    @property
    def weights(self) -> Tensor:
        return self.readings.weights * self._trust / self._relative

    def _parts(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level, amplitude and the cell with its derivatives at the samples."""
        bent = self.readings.positions - self._bend_design @ self.fit.displacement.T
        coordinates = (bent.double() @ self.fit.pair.T).float()
        return (
            self._level_design @ self.fit.level,
            self._amplitude_design @ self.fit.amplitude,
            look_up(table, coordinates),
        )

    def residual(self) -> Tensor:
        level, amplitude, cell = self._parts(self.fit.cell.table())
        return self.readings.values - level - amplitude * cell[0]

    def learn_level(self) -> None:
        _, amplitude, cell = self._parts(self.fit.cell.table())
        target = self.readings.values - amplitude * cell[0]
        level, learnt = _solve(
            self._level_design, target, self.weights / self.fit.noise, self._level_rough, self._level_deviation
        )
        self._level_deviation = min(max(learnt, 1e-3 * self._variance**0.5), 3 * self._variance**0.5)
        self.fit = replace(self.fit, level=level)

    def learn_cell(self, orders: Tensor, rounds: int = 3) -> None:
        values = self.readings.values - self._level_design @ self.fit.level
        amplitude = self._amplitude_design @ self.fit.amplitude
        bent = self.readings.positions - self._bend_design @ self.fit.displacement.T
        sums = CellSums((bent.double() @ self.fit.pair.T), values, amplitude, self.weights)
        same = len(orders) == len(self.fit.cell.orders)
        cell = sums.fit(orders, self.fit.noise, self.fit.cell.prior if same else None, rounds)
        self.fit = replace(self.fit, cell=cell)

    def learn_amplitude(self) -> None:
        level, _, cell = self._parts(self.fit.cell.table())
        design = self._amplitude_design * cell[0][:, None]
        target = self.readings.values - level - cell[0]
        change, learnt = _solve(
            design, target, self.weights / self.fit.noise, self._amplitude_rough, self._amplitude_deviation
        )
        self._amplitude_deviation = min(max(learnt, 3e-3), 1.0)
        self.fit = replace(self.fit, amplitude=1 + change)

    def learn_noise(self) -> None:
        """Variance of the residuals, how it grows with the picture, and which samples are outliers."""
        residual, weights, fit = self.residual(), self.readings.weights, self.fit
        picture = self.readings.values - residual
        count = float((weights > 0).sum())
        freedom = max(8.0, count - 2 * len(fit.cell.orders) - fit.displacement.numel())
        squares = weights * residual.square()
        noise = float((self._trust * squares).sum() / self._trust.sum()) * min(2.0, max(1.0, count / freedom))
        noise = max(noise, 1e-6 * self._variance)
        # What few columns lack is no noise: squares beyond nine variances are cut.
        cut = torch.minimum(squares / noise, 9 * fit.relative_variance(picture))
        centred = picture - picture.mean()
        slope = float((centred * cut).mean() / centred.square().mean().clamp_min(1e-12))
        level = float(cut.mean())
        counting = ((level - slope * float(picture.mean())) / level, slope / level)
        self.fit = replace(fit, noise=noise, counting=counting)
        relative = self.fit.relative_variance(picture)
        self._trust = (_OUTLIER + 1) / (_OUTLIER + squares / (noise * relative))
        self._trust = self._trust / self._trust.mean()
        self._relative = relative

    def learn_displacement(self, bend_px: float, slower_than: float | None = None) -> None:
        """One damped Gauss–Newton step; shorter ones if it does not help."""
        fit = self.fit
        table = fit.cell.table(slower_than, fit.pair)
        level, amplitude, cell = self._parts(table)
        residual = self.readings.values - level - amplitude * cell[0]
        slope = -amplitude * (fit.pair.T.to(cell.dtype) @ cell[1:])  # (2, n): along y and x
        design = torch.cat([self._bend_design * slope[0][:, None], self._bend_design * slope[1][:, None]], 1)
        weighted = design * (self.weights / fit.noise)[:, None]
        penalty = torch.block_diag(self._bend_rough, self._bend_rough) / bend_px**2
        penalty = penalty + 1e-4 * torch.eye(len(penalty), dtype=penalty.dtype, device=penalty.device)
        flat = fit.displacement.flatten().double()
        normal = (weighted.T @ design).double() + penalty
        gradient = (weighted.T @ residual).double() - penalty @ flat
        step = torch.linalg.solve(normal, gradient)
        weights = self.weights / fit.noise

        def cost(control: Tensor) -> float:
            self.fit = replace(fit, displacement=control.to(fit.displacement.dtype).unflatten(0, (2, -1)))
            level, amplitude, cell = self._parts(table[:1])
            left = self.readings.values - level - amplitude * cell[0]
            return float((weights * left.square()).sum()) + float(control @ penalty @ control)

        before = cost(flat)
        for share in (1.0, 0.4, 0.15):
            if cost(flat + share * step) < before:
                break
        else:
            cost(flat)
        self.fit = replace(self.fit, covariance=torch.linalg.inv(normal))

    def finer(self, count: int) -> None:
        """The same displacement on more control points."""
        old = _splines(self.readings.shape, self.fit.displacement)
        if old.count >= count:
            return
        rows, cols = self.readings.shape
        line = [torch.linspace(0, n - 1, 4 * count, device=self.readings.positions.device) for n in (rows, cols)]
        grid = torch.cartesian_prod(*line)
        new = Splines(self.readings.shape, count)
        control = torch.linalg.lstsq(new.at(grid).double(), (old.at(grid) @ self.fit.displacement.T).double()).solution
        self.fit = replace(self.fit, displacement=control.T.to(self.fit.displacement.dtype).contiguous())
        self._bend(count)


def _points(readings: Readings, pair: Tensor, most: int) -> int:
    """Control points along a side: at least three periods and some samples apart, at most so many."""
    apart = _PERIODS / float(pair.norm(dim=1).min())
    by_samples = (float((readings.weights > 0).sum()) / _SAMPLES) ** 0.5
    return max(4, min(most, int(min(readings.shape) / apart) + 3, int(by_samples)))


def fit_lattice(readings: Readings, pair: Tensor, points: int = _DISPLACEMENT_POINTS) -> LatticeFit:
    """Fit a lattice near the reciprocal vectors ``pair`` (2, 2), cycles per pixel."""
    device, values = readings.values.device, readings.values
    count = int((readings.weights > 0).sum())
    variance = float(values.var())
    slow = float(pair.norm(dim=1).max())
    few = harmonics_of(pair, count, fastest=1.5 * slow)
    everything = harmonics_of(pair, count)
    empty = torch.zeros(0, 0, dtype=torch.complex128, device=device)
    zeros = torch.zeros(len(few), dtype=torch.float64, device=device)
    start = LatticeFit(
        shape=readings.shape,
        pair=pair.double(),
        cell=Cell(few[:0], torch.zeros(0, dtype=torch.complex128, device=device), zeros[:0], empty),
        displacement=values.new_zeros(2, 16),
        amplitude=values.new_ones(_points(readings, pair, _AMPLITUDE_POINTS) ** 2),
        level=values.new_zeros(_points(readings, pair, _LEVEL_POINTS) ** 2),
        covariance=torch.zeros(32, 32, dtype=torch.float64, device=device),
        noise=variance,
    )
    rounds = _Rounds(readings, start)
    rounds.learn_level()
    rounds.learn_cell(few)
    rounds.learn_noise()
    for bend, orders, steps, fastest in (
        (0.01, few, 3, 1.2 * slow),
        (0.3, few, 4, 1.5 * slow),
        (_BEND_PX, few, 3, None),
    ):
        for _ in range(steps):
            rounds.learn_displacement(bend, fastest)
            rounds.learn_cell(orders, 2)
            rounds.learn_level()
            rounds.learn_noise()
    rounds.finer(_points(readings, pair, points))
    for n in range(4):
        rounds.learn_cell(everything, 3)
        rounds.learn_displacement(_BEND_PX)
        rounds.learn_level()
        if n:
            rounds.learn_amplitude()
        rounds.learn_noise()
    rounds.learn_cell(everything, 3)
    return rounds.fit


def refit(readings: Readings, fit: LatticeFit, rounds: int = 2) -> LatticeFit:
    """The fit to other samples of the same crystal, from what is known."""
    going = _Rounds(readings, fit)
    for _ in range(rounds):
        going.learn_level()
        going.learn_displacement(_BEND_PX)
        going.learn_cell(fit.cell.orders, 2)
        going.learn_noise()
    return going.fit
