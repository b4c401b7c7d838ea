"""Draw ``docs/images/compensation.png``: a drifting specimen in frame 50, followed by its paths and not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

from restore.engine import Engine
from restore.evaluation.subjects import read_specimens
from restore.generator.restorer import GeneratorRestorer
from scancontrol.daemon.drift_follower import DriftFollower
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand
from scancontrol.paths.geometry import Region

_SPECIMEN = "particles#3"
_SIDE, _MARGIN = 192, 48
_FRAMES, _AHEAD = 50, 3  # a path is made so many frames before it is scanned
_DRIFT_PX = np.array([0.55, -0.4])  # a frame
_REGION = Region(y=0.06, x=0.36, height=0.55, width=0.55)

Array = NDArray[np.float64]


def draw(target: Path) -> None:
    """The first frame, and the last one without and with compensation, beside what lies there in truth."""
    across = _SIDE + 2 * _MARGIN
    whole = read_specimens([_SPECIMEN], (across, across), 1, None)[_SPECIMEN][0].pixels.astype(float)
    restorer = GeneratorRestorer.load(precision="single")
    low, high = np.percentile(whole, (0.1, 99.9))
    figure = Figure(figsize=(12.6, 4.5), layout="constrained")
    columns = figure.subplots(1, 3)
    for axes, follows, frames in zip(columns, (False, False, True), (1, _FRAMES, _FRAMES), strict=True):
        estimate, recipe, kept = _scanned(whole, restorer, follows, frames)
        scanned = _inside(recipe)
        axes.set_facecolor("#131f32")  # of what was not scanned there is no picture
        axes.imshow(np.where(scanned, (estimate - low) / (high - low), np.nan), cmap="gray", vmin=0, vmax=1)
        moved = (frames - 1) * _DRIFT_PX
        _outline(axes, _recipe(0), moved, "#4fc3f7", "--")
        _outline(axes, recipe, np.zeros(2), "#ffb74d", "-")
        axes.set(xticks=[], yticks=[])
        said = "first frame" if frames == 1 else f"frame {frames}, {'followed' if follows else 'not followed'}"
        axes.set_title(f"{said}: {kept:.0%} of the first region is scanned", fontsize=10)
    figure.supxlabel("orange: what is scanned    blue, dashed: where the specimen of the first region is", fontsize=10)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(96).save(target, optimize=True)


def _recipe(frame: int) -> PathRecipe:
    pattern = JitteredGrid(coverage=CoverageGoal(value=0.1), seed=1, seed_per_frame=True).for_frame(frame)
    return PathRecipe(pattern=pattern, shape=(_SIDE, _SIDE), fov_nm=float(_SIDE), dwell_us=1.0, region=_REGION)


def _scanned(whole: Array, restorer: GeneratorRestorer, follows: bool, frames: int) -> tuple[Array, PathRecipe, float]:
    """The last of so many frames, its recipe, and the share of the first frame's region that is in it."""
    engine, follower = Engine(restorer, memory=4), DriftFollower((_SIDE, _SIDE), follows)
    recipes = follower.recipes(frames, lambda frame: expand(_recipe(frame)).recipe, lambda _: None)
    made: list[PathRecipe] = []
    estimate = np.zeros((_SIDE, _SIDE))
    for frame in range(frames):
        while len(made) < min(frames, frame + _AHEAD + 1):
            made.append(next(recipes))
        path = expand(made[frame])
        engine.register(path)
        time = np.cumsum(path.dwell_us + path.move_us) / path.duration_us + frame - 0.5  # in frames, 0 mid-first
        at = path.positions * _SIDE - 0.5 - time[:, None] * _DRIFT_PX + _MARGIN
        samples = map_coordinates(whole, at.T, order=1).astype(np.float32)
        found = engine.restore(samples, path.path_id, stream="compensation", frame=frame)
        follower.restored(frame, found.made_by)
        estimate = found.estimate.double().numpy()
    first, last = made[0].region, made[-1].region
    moved = (frames - 1) * _DRIFT_PX / _SIDE
    common = [
        max(0.0, min(start + by, end) + size - max(start + by, end))
        for start, end, by, size in (
            (first.y, last.y, moved[0], first.height),
            (first.x, last.x, moved[1], first.width),
        )
    ]
    return estimate, made[-1], common[0] * common[1] / (first.height * first.width)


def _inside(recipe: PathRecipe) -> NDArray[np.bool_]:
    """Which pixels lie in the region of a path, (rows, cols)."""
    (top, left), (bottom, right) = (
        recipe.placement.to_field(np.array([at]))[0] * _SIDE for at in ([0.0, 0.0], [1.0, 1.0])
    )
    row, col = np.mgrid[:_SIDE, :_SIDE] + 0.5
    return np.asarray((row >= top) & (row < bottom) & (col >= left) & (col < right))


def _outline(axes: Axes, recipe: PathRecipe, moved_px: Array, colour: str, line: str) -> None:
    corners = recipe.placement.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), clip=False)
    places = corners * _SIDE - 0.5 + moved_px
    axes.add_patch(Polygon(places[:, ::-1], closed=True, fill=False, edgecolor=colour, linestyle=line, linewidth=1.6))


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw(Path(__file__).parent / "images" / "compensation.png")
