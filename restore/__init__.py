"""Restoring a frame from samples along any path: :func:`restore_samples` for arrays of any program.

Start reading in :mod:`.engine`; the doors are samples, serve, offline, train, evaluate and export.
"""

from restore.samples import restore_samples

__all__ = ["restore_samples"]
