"""A specimen comes out of every file as it lay: upright, unmirrored, at its place and at its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from rsciio.hspy import file_reader

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.offline import restore_frames
from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.cli import main
from scancontrol.daemon.page.arrays import decode_binary
from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.hub import PartialView, RestorationView
from scancontrol.micrographs import read_image
from scancontrol.paths import Raster, Region
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan
from scancontrol.recording.arrays import frame_arrays

SHAPE, FOV_NM, PIXEL_NM = (48, 64), 32.0, 0.5
MICROSCOPE = Capabilities(name="bench", detectors=(DetectorChannel(name="HAADF"),))

pytestmark = pytest.mark.slow


def specimen(positions: np.ndarray) -> np.ndarray:
    """A ramp that is steeper along y than along x, and one bright spot: like no turned or mirrored image of itself."""
    y, x = positions[..., 0], positions[..., 1]
    return 8000 + 9000 * y + 4000 * x + 20000 * np.exp(-((y - 0.4) ** 2 + (x - 0.35) ** 2) / 0.01)


TRUTH = specimen((np.moveaxis(np.indices(SHAPE), 0, -1) + 0.5) / SHAPE)


def planned(folder: Path) -> Path:
    plan = ScanPlan(
        name="turned",
        shape=SHAPE,
        fov_nm=FOV_NM,
        dwell_us=1.0,
        patterns=(Raster(),),
        region=Region(y=0.25, x=0.2, height=0.4, width=0.5),
        rotation_deg=20.0,
        settle=None,
    )
    scan = PlannedScan(plan, MICROSCOPE)
    path = scan.path(0)
    with record_plan(folder / "planned.hspy", scan) as recording:
        recording.begin_frame(0, path)
        recording.write_chunk(0, 0, specimen(path.positions)[None].round().astype("<u2"), 0, 0, 1.0)
        recording.end_frame(0, "completed", exposed=path.count)
        with Recording.open(folder / "planned.hspy") as read:
            recording.write_partial(0, frame_arrays(read, 0).partial)
    return folder / "planned.hspy"


def imported(order: Callable[[list[str]], list[str]]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        main(["export", str(planned(folder)), "--csv", "--out", str(folder)])
        rows = [line.split(",") for line in (folder / "frame_000000.csv").read_text().splitlines()]
        (folder / "foreign.csv").write_text("\n".join(",".join(order(row)) for row in rows))
        assert main(["import", str(folder / "foreign.csv"), "--shape", "48,64", "--fov-nm", str(FOV_NM)]) == 0
        return folder / "foreign.hspy"

    return made


def _partial(file: Path, folder: Path) -> np.ndarray:
    with Recording.open(file) as recording:
        found = recording.partial(0)
    assert found is not None
    return found


def _restoration(file: Path, folder: Path) -> np.ndarray:
    with Recording.open(file) as recording:
        found = recording.restoration(0)
    assert found is not None
    return found.estimate


def _hspy(title: str, *, lazy: bool = False) -> Callable[[Path, Path], np.ndarray]:
    """As HyperSpy loads it; lazily as pyxem and LiberTEM do, a dask array of the file's chunks."""

    def read(file: Path, folder: Path) -> np.ndarray:
        found = file_reader(str(file), lazy=lazy)
        signals = [one for one in found if one["metadata"]["General"]["title"].endswith(title)]
        assert len(signals) == 1
        axes = signals[0]["axes"][-2:]
        assert [(axis["size"], axis["units"]) for axis in axes] == [(48, "nm"), (64, "nm")]
        assert [axis["scale"] for axis in axes] == pytest.approx([PIXEL_NM, PIXEL_NM])
        assert hasattr(signals[0]["data"], "dask") == lazy
        data = signals[0]["data"]
        return np.asarray(data.compute(scheduler="synchronous") if lazy else data)[0]

    return read


def _tiff(kind: str) -> Callable[[Path, Path], np.ndarray]:
    def read(file: Path, folder: Path) -> np.ndarray:
        assert main(["export", str(file), "--tiff", "--out", str(folder / "tiff")]) == 0
        with tifffile.TiffFile(folder / "tiff" / f"frame_000000_{kind}.tif") as tiff:
            for tag in ("XResolution", "YResolution"):  # pixels a micron
                above, below = tiff.pages[0].tags[tag].value
                assert above / below == pytest.approx(1000 / PIXEL_NM)
            return tiff.asarray()

    return read


def _png(kind: str) -> Callable[[Path, Path], np.ndarray]:
    def read(file: Path, folder: Path) -> np.ndarray:
        assert main(["export", str(file), "--png", "--out", str(folder / "png")]) == 0
        image = np.asarray(Image.open(folder / "png" / f"frame_000000_{kind}.png").convert("L"), dtype=float)
        factor = image.shape[0] // SHAPE[0]
        assert image.shape == (factor * SHAPE[0], factor * SHAPE[1])
        return image[factor // 2 :: factor, factor // 2 :: factor]

    return read


def _page(kind: str) -> Callable[[Path, Path], np.ndarray]:
    """The message that the page draws from its first row down."""

    def read(file: Path, folder: Path) -> np.ndarray:
        with Recording.open(file) as recording:
            arrays = frame_arrays(recording, 0)
        weight, count = arrays.dwell_map_us, arrays.positions.shape[0]
        view: PartialView | RestorationView = PartialView(
            "s", 0, arrays.partial, weight, True, count, "p", None, FOV_NM
        )
        if kind == "estimate":
            assert arrays.estimate is not None
            assert arrays.made_by is not None
            view = RestorationView("s", 0, arrays.estimate, None, arrays.made_by, None, known=arrays.known)
        header, planes = decode_binary(encode_frame(kind, 1, view))
        assert (header["rows"], header["cols"], header["binning"]) == (*SHAPE, 1)
        if kind == "estimate":
            np.testing.assert_array_equal(planes["known"] > 0, arrays.known)
            return planes["estimate"]
        np.testing.assert_array_equal(planes["weight"] > 0, weight > 0)
        assert header["fov_nm"] / header["cols"] == PIXEL_NM
        return np.where(planes["weight"] > 0, planes["image"], 0)

    return read


def _micrograph(kind: str) -> Callable[[Path, Path], np.ndarray]:
    """An export, as our own reader of micrographs reads it."""

    def read(file: Path, folder: Path) -> np.ndarray:
        assert main(["export", str(file), "--tiff", "--out", str(folder / "tiff")]) == 0
        image = read_image(folder / "tiff" / f"frame_000000_{kind}.tif")
        assert image.pixel_nm == pytest.approx((PIXEL_NM, PIXEL_NM))
        return image.pixels

    return read


def _array(ending: str, name: str) -> Callable[[Path, Path], np.ndarray]:
    def read(file: Path, folder: Path) -> np.ndarray:
        assert main(["export", str(file), f"--{ending}", "--out", str(folder / "arrays")]) == 0
        path = folder / "arrays" / f"frame_000000.{ending}"
        if ending == "npz":
            with np.load(path) as arrays:
                assert arrays["pixel_nm"] == PIXEL_NM
                return arrays[name]
        with h5py.File(path) as arrays:
            assert arrays.attrs["pixel_nm"] == PIXEL_NM
            return arrays[name][()]

    return read


OUTPUTS = {
    "partial frame": _partial,
    "restoration": _restoration,
    "HyperSpy, partial": _hspy("partial frames"),
    "HyperSpy, restoration": _hspy("restorations"),
    "HyperSpy lazily, partial": _hspy("partial frames", lazy=True),
    "HyperSpy lazily, restoration": _hspy("restorations", lazy=True),
    "page, partial": _page("partial"),
    "page, restoration": _page("estimate"),
    "TIFF, partial": _tiff("partial"),
    "TIFF, restoration": _tiff("restoration"),
    "TIFF as a micrograph, partial": _micrograph("partial"),
    "PNG, partial": _png("partial"),
    "PNG, restoration": _png("restoration"),
    "NPZ, partial": _array("npz", "partial"),
    "NPZ, restoration": _array("npz", "estimate"),
    "HDF5, partial": _array("h5", "partial"),
    "HDF5, restoration": _array("h5", "estimate"),
}
SOURCES = {"planned": planned, "imported y, x": imported(lambda row: [row[3], *row[:3]])}
SOURCES["imported x, y"] = imported(lambda row: [row[1], row[0], row[3], row[2]])


@pytest.fixture(scope="module", params=SOURCES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = SOURCES[request.param](tmp_path_factory.mktemp("geometry"))
    assert restore_frames(made, [0], Engine(FillRestorer("push_pull"))) == 1
    return made


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_specimen_lies_in_every_output_as_it_was_scanned(file: Path, output: str, tmp_path: Path) -> None:
    with Recording.open(file) as recording:
        touched = frame_arrays(recording, 0).dwell_map_us > 0
    rows, cols = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    assert rows[0] > 6
    assert rows[-1] < 42
    assert len(cols) > len(rows)  # a turned region, away from captions
    image = OUTPUTS[output](file, tmp_path)
    assert image.shape == SHAPE
    seen, truth = image[touched].astype(float), TRUTH[touched]
    assert np.corrcoef(seen, truth)[0, 1] > 0.98
    if not output.startswith("PNG"):
        assert float(np.sqrt(np.mean((seen - truth) ** 2))) < 0.05 * float(np.ptp(truth))
        assert "partial" not in output or not image[~touched].any()


@pytest.mark.parametrize("turned", [np.flipud, np.fliplr, lambda image: image[::-1, ::-1]], ids=["y", "x", "both"])
def test_the_specimen_is_unlike_its_mirrored_self(turned: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    with Recording.open(planned(tmp_path)) as recording:
        touched = frame_arrays(recording, 0).dwell_map_us > 0
    assert np.corrcoef(turned(TRUTH)[touched], TRUTH[touched])[0, 1] < 0.8


def test_outside_of_a_turned_region_there_is_no_picture_but_its_outline(file: Path, tmp_path: Path) -> None:
    with Recording.open(file) as recording:
        arrays = frame_arrays(recording, 0)
    known = arrays.known
    assert known[arrays.dwell_map_us > 0].all()
    assert 0.15 < known.mean() < 0.4
    assert main(["export", str(file), "--tiff", "--out", str(tmp_path)]) == 0
    restored = tifffile.imread(tmp_path / "frame_000000_restoration.tif")
    np.testing.assert_array_equal(np.isfinite(restored), known)
    assert main(["export", str(file), "--h5", "--out", str(tmp_path)]) == 0
    with h5py.File(tmp_path / "frame_000000.h5") as exported:
        np.testing.assert_array_equal(exported["known"][()], known)
    assert main(["export", str(file), "--png", "--out", str(tmp_path)]) == 0
    picture = np.asarray(Image.open(tmp_path / "frame_000000_restoration.png").convert("RGB"))
    corner = picture[picture.shape[0] // 2 - 60 : picture.shape[0] // 2, -40:]
    assert (corner == (22, 35, 58)).all(), "the colour of what was never visited"
    if file.name == "planned.hspy":
        assert (picture == (120, 170, 255)).all(axis=-1).sum() > 500, "the region's outline"
