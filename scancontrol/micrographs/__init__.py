"""Micrographs from anybody's file: read as it says of itself, or refused by name. Start at :mod:`.reading`."""

from __future__ import annotations

from scancontrol.micrographs.image import Image
from scancontrol.micrographs.reading import SUFFIXES, find_images, is_store, read_each, read_image

__all__ = ["SUFFIXES", "Image", "find_images", "is_store", "read_each", "read_image"]
