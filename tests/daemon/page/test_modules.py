"""The page's modules that only compute, in the browser that runs them, against references of this side."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
import tifffile
from scipy.ndimage import distance_transform_edt, map_coordinates

from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.hub import PartialView
from scancontrol.daemon.plans import plan_of
from scancontrol.errors import InvalidInput
from scancontrol.paths import JitteredGrid
from scancontrol.paths.geometry import Placement, Region
from scancontrol.plan.plan import ScanPlan, load_plan

pytest.importorskip("selenium")
from chromium import Page, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]


def test_the_page_decodes_images_to_what_was_published(page: Page) -> None:
    rng = np.random.default_rng(5)
    image, weight = rng.normal(300, 80, (7, 9)).astype(np.float32), (rng.random((7, 9)) < 0.4).astype(np.uint8)
    message = encode_frame("partial", 3, PartialView(1, 2, image, weight, True, 5, "p", 63, 4.5))
    decoded = page.module(
        "frames",
        "const f = m.decodeFrame(Uint8Array.from(atob(v[0]), (c) => c.charCodeAt(0)).buffer);"
        "return [f.seq, f.fov_nm, Array.from(f.planes.image), Array.from(f.planes.weight)]",
        base64.b64encode(message).decode(),
    )
    assert decoded[:2] == [3, 4.5]
    measured = weight.ravel() > 0
    step = (image[weight > 0].max() - image[weight > 0].min()) / 65535
    assert np.abs(np.array(decoded[2]) - image.ravel())[measured].max() < step
    assert (np.array(decoded[3]) > 0).tolist() == measured.tolist()


def test_the_nearest_measured_fill_is_nearest(page: Page) -> None:
    rng = np.random.default_rng(2)
    rows, cols = 37, 53
    weight = rng.random((rows, cols)) < 0.03
    values = np.arange(rows * cols, dtype=float).reshape(rows, cols)  # each pixel's value is its own address
    filled = page.module(
        "images",
        "return Array.from(m.nearestMeasured(Float32Array.from(v[0]), Uint8Array.from(v[1]), v[2], v[3]))",
        values.ravel().tolist(),
        weight.ravel().astype(int).tolist(),
        rows,
        cols,
    )
    seed = np.array(filled, int).reshape(rows, cols)
    y, x = np.mgrid[0:rows, 0:cols]
    distance = np.hypot(seed // cols - y, seed % cols - x)
    exact = distance_transform_edt(~weight)
    assert (distance >= exact - 1e-9).all()
    assert (distance - exact > 1e-9).mean() < 0.002  # the sweeps' rare ties
    assert (distance - exact).max() < 0.5


def test_colours_and_percentiles_agree_with_their_references(page: Page) -> None:
    maps = page.module(
        "colour", "return Object.fromEntries(Object.entries(m.MAPS).map(([k, t]) => [k, Array.from(t)]))"
    )

    def rgb(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        packed = np.array(maps[name], dtype=np.int64)
        return np.stack([packed & 255, packed >> 8 & 255, packed >> 16 & 255], axis=1)

    for name in ("viridis", "magma", "cividis"):
        reference = np.rint(mpl.colormaps[name](np.arange(256))[:, :3] * 255)
        assert np.abs(rgb(name) - reference).max() <= 4, name
        lightness = rgb(name) @ (0.2126, 0.7152, 0.0722)  # an even map only grows lighter
        assert np.diff(lightness[::8]).min() > 0, name
    assert (rgb("grey") == np.arange(256)[:, None]).all()
    middle, ends = rgb("diverging")[126:130].sum(axis=1), rgb("diverging")[[0, -1]].sum(axis=1)
    assert middle.max() < 0.15 * ends.min()
    values = np.random.default_rng(3).gamma(2, 100, 5000)
    low, high = page.module(
        "colour",
        "const f = Float32Array.from(v[0]); const [a, b] = m.extent(f, null);"
        "return m.percentiles(m.histogram(f, null, a, b, 256), 1)",
        values.tolist(),
    )
    step = np.ptp(values) / 256
    assert [low, high] == pytest.approx(np.percentile(values, [1, 99]), abs=step)


@pytest.mark.parametrize(
    ("longest", "length"), [(0.99, 0.5), (1, 1), (1.9, 1), (2, 2), (4.99, 2), (5, 5), (0.3, 0.2), (70_000, 50_000)]
)
def test_scale_bars_are_one_two_or_five(page: Page, longest: float, length: float) -> None:
    assert page.module("colour", "return m.niceLength(v[0])", longest) == pytest.approx(length)


def test_the_static_files_are_where_the_package_looks() -> None:
    folder = Path(__file__).parents[3] / "scancontrol" / "daemon" / "page" / "static"
    assert max(len(path.read_text().splitlines()) for path in folder.iterdir()) < 300


def test_a_shrunk_partial_scan_keeps_every_sample_at_its_value(page: Page) -> None:
    rng = np.random.default_rng(4)
    rows, cols, factor = 13, 22, 4
    weight = rng.random((rows, cols)) < 0.15
    values = rng.normal(100, 20, (rows, cols))
    shrunk = page.module(
        "images",
        "const s = m.shrink(Float32Array.from(v[0]), Uint8Array.from(v[1]), v[2], v[3], v[4]);"
        "return [s.rows, s.cols, Array.from(s.values), Array.from(s.weight)]",
        values.ravel().tolist(),
        weight.ravel().astype(int).tolist(),
        rows,
        cols,
        factor,
    )
    assert shrunk[:2] == [4, 6]
    means, counts = np.array(shrunk[2]).reshape(4, 6), np.array(shrunk[3]).reshape(4, 6)
    for i, j in np.ndindex(4, 6):
        block = np.s_[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        assert counts[i, j] == weight[block].sum()
        if counts[i, j]:
            assert means[i, j] == pytest.approx(values[block][weight[block]].mean(), rel=1e-5)


def test_unmeasured_dark_and_saturated_pixels_are_told_apart(page: Page) -> None:
    painted = page.module(
        "images",
        "const p = new Uint32Array(4); const before = {values: Float32Array.of(50, 50, 50, 50), weight: [0, 0, 0, 1]};"
        "m.paintPartial(p, Float32Array.of(0, 0, 99, 0), [0, 1, 1, 0], {low: 0, high: 100}, before, 99);"
        "return Array.from(p)",
    )
    unmeasured, dark, saturated, earlier = ((p & 255, p >> 8 & 255, p >> 16 & 255) for p in painted)
    assert unmeasured == (19, 31, 50)
    assert dark == (0, 0, 0)
    assert saturated == (255, 70, 70)
    assert all(u < e < 128 for u, e in zip(unmeasured, earlier, strict=True))  # brighter than nothing, dimmer than now


def test_gamma_bends_what_is_between_the_windows_edges_and_moves_neither(page: Page) -> None:
    painted = page.module(
        "images",
        "const p = new Uint32Array(5);"
        "m.paint(p, Float32Array.of(-9, 0, 25, 100, 999), {low: 0, high: 100, map: 'grey', gamma: 0.5});"
        "return Array.from(p, (q) => q & 255)",
    )
    assert painted == [0, 0, pytest.approx(255 * 0.25**0.5, abs=1), 255, 255]


@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
def test_the_power_spectrum_is_that_of_numpy(page: Page, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = np.cos(2 * np.pi * (0.11 * x + 0.23 * y)) + 0.1 * rng.normal(size=shape) + 7
    found = page.module(
        "fourier",
        "const s = m.powerSpectrum(Float32Array.from(v[0]), v[1], v[2]); return [s.side, Array.from(s.values)]",
        image.ravel().tolist(),
        *shape,
    )
    side = found[0]
    hann = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in shape]
    window = np.outer(*hann)
    centred = (image - (image * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fftshift(np.fft.fft2(centred, (side, side)))) ** 2
    strong = power > 1e-6 * power.max()
    assert np.abs(np.reshape(found[1], (side, side)) - np.log10(power + 1e-30))[strong].max() < 1e-2
    peak = np.unravel_index(np.argmax(found[1]), power.shape)
    at = [(int(place) + 0.5) / side for place in peak]
    frequency = page.module("fourier", "return m.frequencyAt(v[0], v[1], 0.5)", at, side)
    assert frequency["perNm"] == pytest.approx(np.hypot(0.11, 0.23) / 0.5, abs=1.5 / side)
    assert frequency["dNm"] == pytest.approx(1 / frequency["perNm"])


def test_the_profile_is_read_where_the_line_is(page: Page) -> None:
    rng = np.random.default_rng(6)
    image = rng.normal(size=(40, 60))
    line = [[0.2, 0.15], [0.85, 0.7]]
    found = page.module(
        "profile",
        "return [1, 5].map((w) => Array.from(m.alongLine(Float32Array.from(v[0]), 40, 60, v[1], w)))",
        image.ravel().tolist(),
        line,
    )
    ends = np.array(line) * (40, 60) - 0.5
    direction = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    across = np.array([direction[1], -direction[0]])
    places = np.linspace(*ends, len(found[0]))
    for width, values in zip((1, 5), found, strict=True):
        offsets = np.arange(width) - (width - 1) / 2
        lines = [map_coordinates(image, (places + o * across).T, order=1, mode="nearest") for o in offsets]
        assert values == pytest.approx(np.mean(lines, axis=0), abs=1e-5)
    length = page.module("profile", "return m.measureLine(v[0], 60, 40)", line)
    assert length["nm"] == pytest.approx(np.linalg.norm(ends[1] - ends[0]))
    assert length["deg"] == pytest.approx(-np.degrees(np.arctan2(direction[0], direction[1])))


def test_samples_beside_a_line_are_told_where_they_lie_along_it(page: Page) -> None:
    weight = np.zeros((20, 30), int)
    weight[10, 3:27:4] = 1  # on the line
    weight[14, 5] = 1  # too far from it
    values = np.arange(600).reshape(20, 30)
    found = page.module(
        "profile",
        "const line = [[10.5 / 20, 0.5 / 30], [10.5 / 20, 29.5 / 30]];"
        "return m.measuredNear(Float32Array.from(v[0]), v[1], 20, 30, line, 3)",
        values.ravel().tolist(),
        weight.ravel().tolist(),
    )
    assert [value for _, value in found] == values[10, 3:27:4].tolist()
    assert [share for share, _ in found] == pytest.approx(np.arange(3, 27, 4) / 29)


@pytest.mark.parametrize("rotation_deg", [0, 30, -75])
def test_a_regions_corners_are_where_a_plan_puts_them(page: Page, rotation_deg: float) -> None:
    region = {"y": 0.3, "x": 0.35, "height": 0.2, "width": 0.3}
    shape = (300, 500)
    placement = Placement(shape, Region(**region), rotation_deg)
    expected = placement.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), clip=False)
    drawn = {**region, "rotation_deg": rotation_deg}
    found = page.module("region", "return m.corners(v[0], {rows: 300, cols: 500})", drawn)
    assert np.array(found) == pytest.approx(expected)
    again = page.module(
        "region", "return m.between(v[0], v[1], v[2], {rows: 300, cols: 500})", found[0], found[2], rotation_deg
    )
    assert again == pytest.approx(drawn)


@pytest.mark.parametrize("rotation_deg", [0, 45, 12])
def test_a_region_drawn_beyond_the_field_is_one_that_a_plan_takes(page: Page, rotation_deg: float) -> None:
    fitted = page.module(
        "region",
        "return m.insideField({y: -0.2, x: 0.5, height: 0.9, width: 0.8, rotation_deg: v[0]}, {rows: 400, cols: 600})",
        rotation_deg,
    )
    Placement((400, 600), Region(**{name: fitted[name] for name in ("y", "x", "height", "width")}), rotation_deg)
    assert fitted["height"] * fitted["width"] > 0.2


def test_a_tiff_holds_the_values_calibrated_and_then_the_picture(page: Page) -> None:
    rng = np.random.default_rng(9)
    values, seen = rng.normal(size=(5, 7)).astype(np.float32), rng.integers(0, 256, (4, 6, 3))
    text = page.module(
        "tiff",
        "const b = m.encodeTiff(["
        "{rows: 5, cols: 7, data: Float32Array.from(v[0]), description: 'ImageJ=1.54\\nunit=nm\\nε', pixelNm: 0.0125},"
        "{rows: 4, cols: 6, data: Uint8Array.from(v[1]), description: 'as seen', pixelNm: null}]);"
        "return btoa(String.fromCharCode(...b))",
        values.ravel().tolist(),
        seen.ravel().tolist(),
    )
    with tifffile.TiffFile(io.BytesIO(base64.b64decode(text))) as file:
        first, second = file.pages
        assert (first.asarray() == values).all()
        assert (second.asarray() == seen).all()
        across, unit = first.tags["XResolution"].value, first.tags["ResolutionUnit"].value
        assert across[1] / across[0] == pytest.approx(0.0125)
        assert unit == 1
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["unit"] == "nm"


def test_frames_are_kept_to_be_stepped_back_through(page: Page) -> None:
    told = page.module(
        "scene",
        "const s = new m.Scene();"
        "const frame = (type, n) => ({type, seq: 10 * n, series: '1', frame: n, rows: 1, cols: 1, partial: false,"
        "  planes: {estimate: Float32Array.of(n), image: Float32Array.of(n)}});"
        "for (let n = 0; n < 40; n++) { s.take(frame('complete', n)); s.take(frame('restoration', n)); }"
        "const at = () => [s.shown.restoration.frame, s.shown.complete.frame, s.shown.held];"
        "const seen = [at()]; s.step(-1); s.step(-1); seen.push(at());"
        "s.take(frame('complete', 40)); s.take(frame('restoration', 40)); seen.push(at());"
        "s.step(-99); seen.push(at()); s.step(99); seen.push(at()); return seen",
    )
    assert told == [[39, 39, 0], [37, 37, 2], [37, 37, 3], [9, 9, 31], [40, 40, 0]]


CYCLE = {
    "name": "two in turn",
    "shape": [64, 96],
    "fov_nm": 10.0,
    "dwell_us": 1.5,
    "frames": 6,
    "settle": {"tolerance_px": 0.5, "flyback_us": 3.0},
    "patterns": [
        {"kind": "archimedean", "coverage": {"value": 0.05, "by": "touched"}, "extent": "inscribed"},
        {"kind": "jittered_grid", "points": 300, "seed": 4},
    ],
}


def edited(page: Page, plan: dict[str, Any], **changes: object) -> ScanPlan:
    """``plan`` as the editor's form sends it after ``changes`` to its fields, read as the daemon reads it."""
    sent = page.module("plan_fields", "return m.planOf(v[0], {...m.fieldsOf(v[0]), ...v[1]})", plan, changes)
    return plan_of(sent)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[3] / "config").glob("plan-*.yaml")), ids=lambda f: f.stem
)
def test_a_plan_that_is_not_edited_goes_through_the_form_unchanged(page: Page, file: Path) -> None:
    plan = load_plan(file)
    assert edited(page, msgspec.to_builtins(plan)) == plan


def test_what_the_form_does_not_show_is_kept(page: Page) -> None:
    plan = edited(page, CYCLE, dwell_us="2.5", frames="9")
    assert (plan.dwell_us, plan.frames) == (2.5, 9)
    assert msgspec.structs.replace(plan, dwell_us=1.5, frames=6) == plan_of(CYCLE)


def test_a_coverage_takes_the_place_of_the_patterns_own_parameter(page: Page) -> None:
    plan = edited(page, {**CYCLE, "patterns": CYCLE["patterns"][1:]}, one_in="20", by="dose")
    (grid,) = plan.patterns
    assert isinstance(grid, JitteredGrid)
    assert (grid.points, grid.seed) == (None, 4)
    assert grid.coverage is not None
    assert (grid.coverage.value, grid.coverage.by) == (0.05, "dose")


def test_another_pattern_is_one_that_each_frame_varies(page: Page) -> None:
    plan = edited(page, {**CYCLE, "patterns": CYCLE["patterns"][:1]}, kind="jittered_grid")
    (grid,) = plan.patterns
    assert isinstance(grid, JitteredGrid)
    assert grid.seed_per_frame
    assert grid.coverage is not None
    assert grid.coverage.value == 0.05


@pytest.mark.parametrize("field", ["dwell_us", "fov_nm", "frames", "rows", "cols", "one_in", "interval_s"])
def test_a_field_that_holds_no_number_is_named_before_anybody_is_asked(page: Page, field: str) -> None:
    for text in ("", "two"):
        odd = page.module("plan_fields", "return m.oddField({...m.fieldsOf(v[0]), ...v[1]})", CYCLE, {field: text})
        if field == "one_in" and not text:
            assert odd is None, "no coverage is asked for"
        else:
            assert page.module("plan_fields", "return m.fieldOf(v[0])", odd["quantity"]) == field
    assert page.module("plan_fields", "return m.oddField(m.fieldsOf(v[0]))", CYCLE) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dwell_us": "-1"}, "dwell_us"),
        ({"rows": "1"}, "rows"),
        ({"frames": "0"}, "frames"),
        ({"name": " "}, "name"),
        ({"one_in": "0.5"}, "one_in"),
        ({"region": {"y": 0.5, "x": 0, "height": 0.7, "width": 1, "rotation_deg": 0}}, "region"),
    ],
)
def test_what_the_daemon_refuses_is_shown_at_its_field(page: Page, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        edited(page, CYCLE, **changes)
    assert page.module("plan_fields", "return m.fieldOf(v[0])", refused.value.quantity) == field


@pytest.mark.parametrize("reference", [None, {"y": 0.0, "x": 0.0, "height": 1.0, "width": 0.4}])
def test_strain_is_that_of_the_restorers_own_map(page: Page, reference: dict[str, float] | None) -> None:
    n = 32
    rng = np.random.default_rng(11)
    field = 0.02 * rng.normal(size=(4, n, n))
    deviations = np.abs(rng.normal(size=(4, n, n)))
    at = np.linspace(0, 1, n)
    inside = (at >= 0) & (at <= (1.0 if reference is None else reference["width"]))
    slopes = field.reshape(2, 2, n, n).transpose(2, 3, 0, 1)
    mean = slopes[:, inside].mean(axis=(0, 1))
    relative = np.linalg.inv(np.eye(2) - slopes) @ (np.eye(2) - mean)
    expected = {
        "exx": relative[..., 1, 1] - 1,
        "eyy": relative[..., 0, 0] - 1,
        "exy": (relative[..., 0, 1] + relative[..., 1, 0]) / 2,
        "rotation": -(relative[..., 0, 1] - relative[..., 1, 0]) / 2,
    }
    for number, (name, values) in enumerate(expected.items()):
        found = page.module(
            "strain",
            "const c = m.component(v[0], Float32Array.from(v[1]), v[2], v[3]); return [[...c.values], [...c.sd]]",
            name,
            np.concatenate([field, deviations]).ravel().tolist(),
            n,
            reference,
        )
        assert found[0] == pytest.approx(values.ravel(), abs=1e-6)
        assert found[1] == pytest.approx(deviations[number].ravel(), rel=1e-6)


def test_strain_between_the_places_of_its_grid_is_linear(page: Page) -> None:
    grid = np.random.default_rng(12).normal(size=(5, 5))
    found = page.module("strain", "return [...m.onPixels(v[0], 5, 33, 17)]", grid.ravel().tolist())
    places = np.stack(np.meshgrid(np.linspace(0, 4, 33), np.linspace(0, 4, 17), indexing="ij"))
    assert found == pytest.approx(map_coordinates(grid, places, order=1).ravel(), abs=1e-5)


def test_a_frame_that_is_looked_back_at_has_its_own_truth_or_none(page: Page) -> None:
    """Of three frames the truth of the second never came; a truth of no frame is that of all of them."""
    script = """
    const frame = (type, n) => ({type, frame: n, series: 's', channel: 'HAADF', rows: 4, cols: 4, seq: n,
      planes: {estimate: new Float32Array(16), image: new Float32Array(16)}});
    const scene = new m.Scene();
    for (const n of [0, 1, 2]) { scene.take(frame('restoration', n)); if (n !== 1) scene.take(frame('truth', n)); }
    const seen = [scene.shown.truth.frame];
    for (let n = 0; n < 2; n += 1) { scene.step(-1); seen.push(scene.shown.truth?.frame ?? null); }
    scene.take({...frame('truth', 9), frame: undefined});
    seen.push(scene.shown.truth.seq);
    return seen;
    """
    assert page.module("scene", script) == [2, None, 0, 9]
