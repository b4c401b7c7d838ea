"""The rounds in which a lattice's parts are found: given the others, each is a linear fit or one Gauss–Newton step.

References: Tipping 2001, J. Mach. Learn. Res. 1, 211 (prior deviations by expectation maximisation); Lange, Little,
Taylor 1989, J. Am. Stat. Assoc. 84, 881 (weights of outliers from Student's distribution).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from restore.estimate.lattice.cell import CellSums, look_up
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of
from restore.estimate.lattice.splines import Splines, roughness

__all__ = ["CURVATURE", "Rounds", "anchored_roughness"]

CURVATURE = 1e-4
"""First prior deviation of a displacement's second derivative, per pixel: 2 % of strain that come and go in 200."""

_LEAST_CURVATURE = 1e-7
_SHIFT_PX = 30.0  # prior deviation of control values: only to keep a lattice that is nowhere seen from wandering off
LEVEL_ANCHOR = 1e-4  # how much an affine field costs, against rough ones
_AMPLITUDE_ANCHOR = 0.02
_LEAST_SQUARE = 1e-6  # of residuals that a detector at rest, all of whose readings are alike, leaves
_OUTLIER = 6.0  # degrees of freedom of the residuals' Student distribution


def _solve(design: Tensor, target: Tensor, weights: Tensor, rough: Tensor, deviation: float) -> tuple[Tensor, float]:
    """Ridge regression on second differences of a prior deviation, and the deviation that the solution makes likely.

    The latter is one round of expectation maximisation. ``weights`` are inverse variances.
    """
    normal = ((design * weights[:, None]).T @ design).double()
    inverse = torch.linalg.inv(normal + rough / deviation**2)
    control = inverse @ (design.T @ (weights * target)).double()
    learnt = float(control @ rough @ control + (rough * inverse).sum()) / len(rough)
    return control.to(design.dtype), learnt**0.5


def anchored_roughness(count: int, anchor: float, device: torch.device) -> Tensor:
    """Roughness of a field, in which what is affine costs a little too."""
    return roughness(count).to(device) + anchor * torch.eye(count**2, dtype=torch.float64, device=device)


class Rounds:
    """The rounds of one fit: designs that depend on the positions only are made once."""

    def __init__(self, readings: Readings, fit: LatticeFit) -> None:
        self.readings, self.fit = readings, fit
        shape, positions = readings.shape, readings.positions
        level, amplitude = splines_of(shape, fit.level), splines_of(shape, fit.amplitude)
        self._level_design, self._amplitude_design = level.at(positions), amplitude.at(positions)
        self._level_rough = anchored_roughness(level.count, LEVEL_ANCHOR, positions.device)
        self._amplitude_rough = anchored_roughness(amplitude.count, _AMPLITUDE_ANCHOR, positions.device)
        self._trust = torch.ones_like(readings.weights)
        self._relative = torch.ones_like(readings.weights)
        self._window, self._own = torch.ones_like(readings.weights), torch.ones_like(readings.weights)
        self._variance = float(readings.values.var())
        self._bend(round(fit.displacement.shape[-1] ** 0.5))

    def _bend(self, count: int) -> None:
        splines = Splines(self.readings.shape, count)
        self._bend_design = splines.at(self.readings.positions)
        self._bend_rough = roughness(count).to(self.readings.positions.device)

    @property
    def weights(self) -> Tensor:
        """Of the samples (n,): inverse variances on the scale of the noise's mean."""
        return self.readings.weights * self._window * self._trust / self._relative

    def look_at(self, centre: Tensor, radius_px: float) -> None:
        """Weigh samples by a Gaussian window about a place (2,) in pixels."""
        away = (self.readings.positions - centre).square().sum(1)
        self._window = self._own * torch.exp(-0.5 * away / radius_px**2)

    def keep(self, own: Tensor) -> None:
        """Use only these of the readings, (n,) bool."""
        self._own = own.to(self._window.dtype)
        self._window = self._window * self._own

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
            self._level_design, target, self.weights / self.fit.noise, self._level_rough, self.fit.deviations.level
        )
        learnt = min(max(learnt, 1e-3 * self._variance**0.5), 3 * self._variance**0.5)
        self.fit = replace(self.fit, level=level, deviations=replace(self.fit.deviations, level=learnt))

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
            design, target, self.weights / self.fit.noise, self._amplitude_rough, self.fit.deviations.amplitude
        )
        deviations = replace(self.fit.deviations, amplitude=min(max(learnt, 3e-3), 1.0))
        self.fit = replace(self.fit, amplitude=1 + change, deviations=deviations)

    def learn_noise(self) -> None:
        """Variance of the residuals, how it grows with the picture, and which samples are outliers."""
        residual, weights, fit = self.residual(), self.readings.weights * self._window, self.fit
        picture = self.readings.values - residual
        count = float((weights > 1e-3).sum())
        freedom = max(8.0, count - 2 * len(fit.cell.orders) - fit.displacement.numel())
        squares = self.readings.weights * residual.square()
        used = self.readings.weights > 0
        share = self._trust * self._window * used
        noise = float((share * squares).sum() / share.sum()) * min(2.0, max(1.0, count / freedom))
        noise = max(noise, 1e-6 * self._variance)
        # What few columns lack is no noise: squares beyond nine variances are cut.
        cut = torch.minimum(squares / noise, 9 * fit.relative_variance(picture))[used]
        seen = self._window[used] / self._window[used].sum()
        mean = float((seen * picture[used]).sum())
        centred = picture[used] - mean
        slope = float((seen * centred * cut).sum() / (seen * centred.square()).sum().clamp_min(1e-12))
        level = max(float((seen * cut).sum()), _LEAST_SQUARE)
        counting = ((level - slope * mean) / level, slope / level)
        self.fit = replace(fit, noise=noise, counting=counting)
        relative = self.fit.relative_variance(picture)
        self._trust = (_OUTLIER + 1) / (_OUTLIER + squares / (noise * relative))
        self._trust = self._trust / self._trust[used].mean()
        self._relative = relative

    def learn_displacement(self, curvature: float | None = None, slower_than: float | None = None) -> None:
        """One damped Gauss–Newton step; shorter ones if it does not help.

        Args:
            curvature: prior deviation of second derivatives, per pixel; what was learnt last, if not given.
            slower_than: only by harmonics slower than that, in cycles per pixel.
        """
        spacing = min(self.readings.shape) / (round(self._bend_design.shape[1] ** 0.5) - 3)
        bend = (curvature or self.fit.deviations.curvature) * spacing**2
        fit = self.fit
        table = fit.cell.table(slower_than, fit.pair)
        level, amplitude, cell = self._parts(table)
        residual = self.readings.values - level - amplitude * cell[0]
        slope = -amplitude * (fit.pair.T.to(cell.dtype) @ cell[1:])  # (2, n): along y and x
        design = torch.cat([self._bend_design * slope[0][:, None], self._bend_design * slope[1][:, None]], 1)
        weighted = design * (self.weights / fit.noise)[:, None]
        penalty = torch.block_diag(self._bend_rough, self._bend_rough) / bend**2
        penalty = penalty + _SHIFT_PX**-2 * torch.eye(len(penalty), dtype=penalty.dtype, device=penalty.device)
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
        if curvature is None:
            covariance = torch.linalg.inv(normal)
            now, rough = self.fit.displacement.double(), self._bend_rough
            blocks = covariance[: len(rough), : len(rough)] + covariance[len(rough) :, len(rough) :]
            power = float((now @ rough * now).sum() + (rough * blocks).sum())
            learnt = (power / (2 * len(rough))) ** 0.5 / spacing**2
            learnt = min(max(learnt, _LEAST_CURVATURE), 4 * CURVATURE)
            self.fit = replace(self.fit, deviations=replace(self.fit.deviations, curvature=learnt))
        self.fit = replace(self.fit, precision=normal)

    def finer(self, count: int) -> None:
        """The same displacement on more control points."""
        old = splines_of(self.readings.shape, self.fit.displacement)
        if old.count >= count:
            return
        rows, cols = self.readings.shape
        line = [torch.linspace(0, n - 1, 4 * count, device=self.readings.positions.device) for n in (rows, cols)]
        grid = torch.cartesian_prod(*line)
        new = Splines(self.readings.shape, count)
        control = torch.linalg.lstsq(new.at(grid).double(), (old.at(grid) @ self.fit.displacement.T).double()).solution
        self.fit = replace(self.fit, displacement=control.T.to(self.fit.displacement.dtype).contiguous())
        self._bend(count)
