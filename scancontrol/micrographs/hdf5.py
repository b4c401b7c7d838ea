"""HDF5 of any program: HyperSpy's, EMD of Velox, of Berkeley and NCEM, NeXus, and files of nobody's convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import Found
from scancontrol.micrographs.tree import images_of

__all__ = ["images_in"]


def images_in(path: Path, name: str, least_side: int) -> list[Found]:
    """The datasets of an HDF5 file that can be an image: real numbers, two long axes. All of them if one is named.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return images_of(file, _datasets(path, file), name, least_side)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        remedy = "replace or remove the file"
        if "filter" in str(error) or "plugin" in str(error):
            remedy = "it is packed in a rare way: pip install hdf5plugin, and store it again without, or with gzip"
        raise InvalidInput("image", path, f"cannot be read as HDF5 ({error})", remedy) from error


def _datasets(path: Path, file: h5py.File) -> list[tuple[str, Any]]:
    """Path and dataset of each, those in other files that this one links to among them.

    Raises:
        InvalidInput: the file holds nothing but links that lead nowhere.
    """
    found: dict[str, h5py.Dataset] = {}
    broken = []

    def look(at: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[at] = item

    def follow(at: str, link: Any) -> None:
        if not isinstance(link, h5py.ExternalLink):
            return
        try:
            item = file[at]
        except (KeyError, OSError):
            broken.append(f"{at} in {link.filename}")
            return
        look(at, item)
        if isinstance(item, h5py.Group):
            item.visititems(lambda below, one: look(f"{at}/{below}", one))

    file.visititems(look)
    file.visititems_links(follow)
    if broken and not found:
        raise InvalidInput("image", path, f"links to what is not there: {', '.join(broken)}", "put that file beside it")
    return list(found.items())
