"""What a microscopist measures, on an estimate of a specimen that is known: columns, defects, edges.

Heights and positions are those of a Gaussian of the column's own width on an even background, fitted to the pixels
nearer to the column than half-way to its next neighbour; the truth is measured in the same way, so that an estimate
equal to the truth has no error, and an empty one no height.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from simulators.specimens.truths.truth import ColumnKind, Columns, Edges, Truth

__all__ = ["SpecimenScore", "column_heights", "column_positions", "edge_widths", "mean_score", "score_specimen"]

Image = NDArray[np.float64]
Values = NDArray[np.float64]

_FALSE_DEFECT = 0.225  # of a column's height: half the step to a vacancy of 45 %
_NARROWEST_WINDOW_PX = 1.5
_FAINTEST = 0.1  # lower columns, as at a particle's rim, are not measured
_FIT_STEPS = 8
_EDGE_STEP_PX = 0.05
_EDGE_ACROSS_PX = 3.0


@dataclass(frozen=True)
class SpecimenScore:
    """One estimate of one specimen; None where the specimen has nothing of the sort.

    Attributes:
        height: of the ordinary columns of the brightest species, relative to the truth's.
        peak: of the same columns, the value at their middle above the truth's darkest (0.1 percentile), relative to the
            truth's; unlike ``height`` it counts what neighbours add there.
        position_px: root mean square error of their positions.
        defect_contrast: of vacancies and dopants with an ordinary column, relative to the truth's.
        defect_contrast_hit: of those on which a sample fell, within σ of the middle.
        defects_hit: share of vacancies and dopants on which a sample fell.
        false_defects: share of ordinary columns that are off by more than half the step to a vacancy of 45 %.
        defects_held: share of vacancies, dopants and columns at a boundary whose middle pixel the interval holds.
        edge_width_px, edge_width_true_px: mean width of edges from 10 to 90 %, in the estimate and in truth.
    """

    height: float | None = None
    peak: float | None = None
    position_px: float | None = None
    defect_contrast: float | None = None
    defect_contrast_hit: float | None = None
    defects_hit: float | None = None
    false_defects: float | None = None
    defects_held: float | None = None
    edge_width_px: float | None = None
    edge_width_true_px: float | None = None


def mean_score(scores: list[SpecimenScore]) -> SpecimenScore:
    """Each figure's mean over the scores that have it."""
    found: dict[str, float | None] = {}
    for field in fields(SpecimenScore):
        known = [value for value in (getattr(score, field.name) for score in scores) if value is not None]
        found[field.name] = float(np.mean(known)) if known else None
    return SpecimenScore(**found)


def score_specimen(
    truth: Truth, estimate: Image, half_width: Image | None, sampled_px: NDArray[np.int64]
) -> SpecimenScore:
    """Compare an estimate with the specimen, in the specimen's units.

    Args:
        truth: the specimen.
        estimate: (rows, cols).
        half_width: of the interval, (rows, cols), or None.
        sampled_px: (n, 2), the pixels (y, x) on which samples fell.
    """
    edge_width = edge_width_true = None
    if len(truth.edges):
        edge_width = float(edge_widths(estimate, truth.edges).mean())
        edge_width_true = float(truth.edges.width_px.mean())
    columns, window_px = _measurable(truth)
    if len(columns) == 0:
        return SpecimenScore(edge_width_px=edge_width, edge_width_true_px=edge_width_true)
    image = truth.image.astype(np.float64)
    found, true = (column_heights(picture, columns, window_px) for picture in (estimate, image))
    level, true_level = (_levels(heights, columns) for heights in (found, true))
    ordinary = columns.kind == ColumnKind.ORDINARY
    bright = ordinary & (columns.species == 0)
    point = (columns.kind == ColumnKind.VACANCY) | (columns.kind == ColumnKind.DOPANT)
    hit = point & (cKDTree(sampled_px).query(columns.position_px)[0] <= columns.sigma_px)
    false = np.abs(found - level) > _FALSE_DEFECT * true_level
    at = tuple(np.rint(columns.position_px).astype(int).T)
    darkest = np.percentile(image, 0.1)
    held = None
    if half_width is not None:
        held = _mean_of((np.abs(estimate[at] - image[at]) <= half_width[at])[columns.defect])
    away = np.linalg.norm(column_positions(estimate, columns.where(bright), window_px), axis=1)
    return SpecimenScore(
        height=float(found[bright].sum() / true[bright].sum()) if bright.any() else None,
        peak=_share_of((estimate[at] - darkest)[bright], (image[at] - darkest)[bright]),
        position_px=float(np.sqrt(np.mean(np.square(away)))) if bright.any() else None,
        defect_contrast=_share_of((level - found)[point], (true_level - true)[point]),
        defect_contrast_hit=_share_of((level - found)[hit], (true_level - true)[hit]),
        defects_hit=_mean_of(hit[point]),
        false_defects=_mean_of(false[ordinary]),
        defects_held=held,
        edge_width_px=edge_width,
        edge_width_true_px=edge_width_true,
    )


def _mean_of(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _share_of(found: Values, true: Values) -> float | None:
    """What part of ``true`` the found values are, by least squares."""
    power = float(np.square(true).sum())
    return float(found @ true) / power if power else None


def _measurable(truth: Truth) -> tuple[Columns, float]:
    """The columns whose windows lie within the frame, and the windows' radius in pixels."""
    columns = truth.columns.where(truth.columns.ordinary_height > _FAINTEST)
    if len(columns) < 2:
        return columns.where(np.zeros(len(columns), bool)), _NARROWEST_WINDOW_PX
    nearest = cKDTree(columns.position_px).query(columns.position_px, 2)[0][:, 1]
    window_px = max(_NARROWEST_WINDOW_PX, float(np.quantile(nearest, 0.1)) / 2)
    reach = np.ceil(window_px) + 1
    inside = (columns.position_px > reach) & (columns.position_px < np.array(truth.image.shape) - 1 - reach)
    return columns.where(inside[:, 0] & inside[:, 1]), window_px


def _levels(heights: Values, columns: Columns) -> Values:
    """What an ordinary column of its species is measured to have at each column, (n,)."""
    level = np.zeros(len(columns))
    for species in np.unique(columns.species):
        of_it = columns.species == species
        ordinary = of_it & (columns.kind == ColumnKind.ORDINARY)
        scale = _share_of(heights[ordinary], columns.ordinary_height[ordinary])
        level[of_it] = (scale or 0.0) * columns.ordinary_height[of_it]
    return level


@dataclass(frozen=True)
class _Windows:
    """The pixels about each of n columns: values, and distances (y, x) from its position, (n, pixels) each."""

    values: Values
    y: Values
    x: Values
    used: NDArray[np.bool_]


def _windows(image: Image, columns: Columns, window_px: float) -> _Windows:
    reach = int(np.ceil(window_px)) + 1
    base = np.rint(columns.position_px).astype(np.int64)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, 1, -1)
    y, x = (d + (base - columns.position_px)[:, axis, None] for axis, d in enumerate((dy, dx)))
    values = image[base[:, 0, None] + dy, base[:, 1, None] + dx]
    return _Windows(values, y, x, np.hypot(y, x) <= window_px)


def column_heights(image: Image, columns: Columns, window_px: float) -> Values:
    """Height of the Gaussian at each column's true position, on an even background, by least squares; (n,)."""
    window = _windows(image, columns, window_px)
    shape = np.exp(-0.5 * (window.y**2 + window.x**2) / columns.sigma_px[:, None] ** 2)
    count = window.used.sum(1, keepdims=True)
    centred = np.where(window.used, shape - np.where(window.used, shape, 0).sum(1, keepdims=True) / count, 0)
    return np.asarray((centred * window.values).sum(1) / np.square(centred).sum(1))


def column_positions(image: Image, columns: Columns, window_px: float) -> NDArray[np.float64]:
    """How far (y, x) the fitted Gaussian is from each column's true position, (n, 2) px, never beyond the window.

    Gauss–Newton from the true position, for position, height and background. Where there is no column to be seen the
    fit wanders to the window's border.
    """
    window = _windows(image, columns, window_px)
    variance = columns.sigma_px[:, None] ** 2
    moved = np.zeros((len(columns), 2))
    for _ in range(_FIT_STEPS):
        y, x = window.y - moved[:, :1], window.x - moved[:, 1:]
        shape = np.where(window.used, np.exp(-0.5 * (y**2 + x**2) / variance), 0)
        flat = window.used.astype(np.float64)
        design = np.stack((flat, shape, shape * y / variance, shape * x / variance), -1)
        normal = np.einsum("npi,npj->nij", design, design) + 1e-9 * np.eye(4)
        solved = np.linalg.solve(normal, np.einsum("npi,np->ni", design, window.values)[..., None])[..., 0]
        height = np.maximum(solved[:, 1:2], 1e-6)  # a hole is no column
        step = np.clip(solved[:, 2:] / height, -window_px / 4, window_px / 4)
        moved += step
        moved *= np.minimum(1, window_px / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))
    return moved


def edge_widths(image: Image, edges: Edges) -> Values:
    """Width of each edge from 10 to 90 % of its step, (n,) px, on a profile along its normal that is 7 px wide."""
    across = np.arange(-_EDGE_ACROSS_PX, _EDGE_ACROSS_PX + 1)
    widths = []
    for position, normal, reach in zip(edges.position_px, edges.normal, edges.reach_px, strict=True):
        way = np.arange(-reach, reach + _EDGE_STEP_PX / 2, _EDGE_STEP_PX)
        tangent = np.array((-normal[1], normal[0]))
        points = position + way[:, None, None] * normal + across[None, :, None] * tangent
        profile = map_coordinates(image, points.reshape(-1, 2).T, order=1).reshape(len(way), -1).mean(1)
        end = len(way) // 8
        bright, dark = profile[:end].mean(), profile[-end:].mean()
        share = (profile - dark) / (bright - dark) if bright > dark else np.full(len(way), 0.5)
        below, above = np.flatnonzero(share < 0.1), np.flatnonzero(share > 0.9)
        first = way[above.max()] if len(above) else -reach
        later = below[way[below] > first]
        widths.append((way[later.min()] if len(later) else reach) - first)
    return np.array(widths)
