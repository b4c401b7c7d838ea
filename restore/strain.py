"""How a crystal is strained, as files: ``python -m restore.strain FILE --out DIR --format tiff``.

The lattice of each frame is looked for in the recorded samples. Written are its displacement from a reference lattice,
εxx, εyy, εxy and the rotation, a deviation of each, and how far the readings around each pixel contradict the lattice:
where that is 1, there is another grain, a boundary or no crystal, and the other maps mean nothing. The reference is the
mean lattice of the frame, or of ``--region``. Started by ``scancontrol export --strain``; prints one JSON object a
line: ``{"written": n, "of": total, "frame": ...}`` or, where no lattice is proven, with ``"skipped": why``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from restore.estimate.instrument import specimen_readings
from restore.estimate.lattice.crystal import Crystal
from restore.estimate.lattice.following import CrystalStream
from restore.estimate.lattice.strain import strain_map
from restore.gridding import MIN_SAMPLES, FrameGeometry
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.figures.recording import Picture, write_tiff
from scancontrol.files import writing
from scancontrol.paths import expand
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, report
from scancontrol.recording import Recording
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.frame_lists import add_frames, frame_numbers
from scancontrol.recording.hyperspy import describe
from scancontrol.recording.reader import RecordingReader

__all__ = ["FORMATS", "Region", "crystals_of", "main", "strain_arrays", "write_strain"]

FORMATS = ("tiff", "npz", "h5")
Region = tuple[int, int, int, int]
"""First row, first column, rows and columns, in pixels."""


def crystals_of(
    recording: RecordingReader, frames: Sequence[int], channel: str
) -> Iterator[tuple[int, Crystal | None]]:
    """The crystal of each frame in turn, looked for once and followed, or None where readings prove none.

    Raises:
        RecordingError: a frame is not in the recording.
    """
    stream, row = CrystalStream("first"), recording.header.channels.index(channel)
    detector = recording.capabilities.detector(channel)
    geometries: dict[str, FrameGeometry] = {}
    for frame in frames:
        read, recipe = recording.read_samples(frame), recording.recipe(frame)
        samples = np.where(read.sound, read.values[row], np.nan)
        if np.isfinite(samples).sum() < MIN_SAMPLES:
            yield frame, None
            continue
        path = expand(recipe)
        whole = geometries.setdefault(recipe.path_id, FrameGeometry.from_path(path))
        readings = specimen_readings(samples, whole.prefix(len(samples)), path, detector)
        yield frame, stream.crystal(readings.judged.values, readings.geometry)


def strain_arrays(crystal: Crystal, region: Region | None = None) -> dict[str, NDArray[np.float32]]:
    """The maps (rows, cols) of a crystal by name; a name with ``_sd`` holds the deviation of the one without.

    Raises:
        InvalidInput: the region is no part of the frame, or smaller than 8 × 8.
    """
    found = strain_map(crystal.fit, region)
    maps = {
        "displacement_y_px": (found.displacement_px[0], found.displacement_sd_px[0]),
        "displacement_x_px": (found.displacement_px[1], found.displacement_sd_px[1]),
        "exx": (found.exx, found.sd[0]),
        "eyy": (found.eyy, found.sd[1]),
        "exy": (found.exy, found.sd[2]),
        "rotation_rad": (found.rotation, found.sd[3]),
    }
    arrays = {name: both[0] for name, both in maps.items()} | {f"{name}_sd": both[1] for name, both in maps.items()}
    arrays["contradicted"] = crystal.doubt
    return {name: array.float().numpy() for name, array in arrays.items()}


def write_strain(
    recording: RecordingReader, frame: int, crystal: Crystal, out: Path, format_: str, region: Region | None = None
) -> list[Path]:
    """Write the maps of one frame; returns the files: one of each map as TIFF, else one of all.

    Raises:
        InvalidInput: the region is no part of the frame, or smaller than 8 × 8.
        StorageError: a file cannot be written.
    """
    arrays, pixel_nm = strain_arrays(crystal, region), recording.header.pixel_size_nm
    reference = region or (0, 0, *crystal.fit.shape)
    facts = {
        "frame": frame,
        "pixel_nm": pixel_nm,
        "lattice_share": crystal.share,
        "lattice_vectors_px": crystal.vectors.numpy(),
        "reference_region_px": np.array(reference),
    }
    if format_ == "tiff":
        about = tuple(describe(recording.header, recording.capabilities))
        said = (
            f"frame {frame}, from a lattice of share {crystal.share:.2g} found in the samples; reference: rows "
            f"{reference[0]} to {reference[0] + reference[2]}, columns {reference[1]} to {reference[1] + reference[3]}"
        )
        files = []
        for name, image in arrays.items():
            files.append(out / f"frame_{frame:06d}_{name}.tif")
            with writing(files[-1]) as made:
                write_tiff(Picture("strain", frame, image, pixel_nm, name, f"{name}, {said}", about), made)
        return files
    file = out / f"frame_{frame:06d}_strain.{format_}"
    with writing(file) as made:
        if format_ == "npz":
            with made.open("wb") as target:
                np.savez_compressed(target, **arrays, **{name: np.array(fact) for name, fact in facts.items()})  # type: ignore[arg-type]
        else:
            with h5py.File(made, "w", locking=False) as store:
                for name, image in arrays.items():
                    store.create_dataset(name, data=image, compression="gzip")
                store.attrs.update(facts)
    return [file]


def _region(text: str) -> Region:
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isdecimal() for number in numbers):
        raise InvalidInput("region", text, "is not four whole numbers", "give TOP,LEFT,ROWS,COLS in pixels")
    top, left, rows, cols = (int(number) for number in numbers)
    return top, left, rows, cols


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.strain", description=__doc__)
    parser.add_argument("file", type=Path, help="a recording")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--format", choices=FORMATS, default="tiff", help="a file of each map, or one of all")
    parser.add_argument("--channel", metavar="NAME", help="which detector (default: the first that is recorded)")
    parser.add_argument("--region", metavar="TOP,LEFT,ROWS,COLS", help="pixels of the reference (default: the frame)")
    add_frames(parser)
    add_follow_stdin(parser)
    options = parser.parse_args(arguments)
    shutdown = Shutdown(follow_stdin=options.follow_stdin)
    try:
        logs.configure("restore.strain", verbose=False)
        region = None if options.region is None else _region(options.region)
        options.out.mkdir(parents=True, exist_ok=True)
        with Recording.open(options.file) as recording, torch.inference_mode():
            frames = frame_numbers(options.frames, [frame.frame for frame in recording.frames])
            channel = channel_of(recording.header, options.channel)
            report(ready="strain", frames=len(frames))
            for done, (frame, crystal) in enumerate(crystals_of(recording, frames, channel), 1):
                if crystal is None:
                    report(written=done, of=len(frames), frame=frame, skipped="no lattice is proven by its samples")
                else:
                    files = write_strain(recording, frame, crystal, options.out, options.format, region)
                    report(written=done, of=len(frames), frame=frame, share=crystal.share, files=len(files))
                if shutdown.requested():
                    break
    except ScanControlError as error:
        sys.stderr.write(f"restore.strain: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"restore.strain: {options.out} cannot be written ({error.strerror or error})\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
