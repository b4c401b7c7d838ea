"""Expanding the next path while the beam is on the present one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from functools import partial

from scancontrol.paths import PathRecipe, ScanPath, expand
from scancontrol.recent import Recent

__all__ = ["PathsAhead"]

_PATHS_KEPT = 8


class PathsAhead:
    """Takes recipes from any iterator, on a thread of its own, and has their paths ready.

    An adaptive acquisition is an iterator that waits for what it has learnt: it may block as long as it
    likes, the samples of the running frame are collected meanwhile.
    """

    def __init__(self, recipes: Iterable[PathRecipe], ahead: int) -> None:
        self._recipes = iter(recipes)
        self._ready: queue.Queue[ScanPath | BaseException | None] = queue.Queue(max(1, ahead))
        self._stopped = threading.Event()
        self._paths: Recent[str, ScanPath] = Recent(_PATHS_KEPT)
        self._end: BaseException | None = None
        self.exhausted = False
        self._thread = threading.Thread(target=self._work, name="paths-ahead", daemon=True)
        self._thread.start()

    def take(self) -> ScanPath | None:
        """The next frame's path if it is ready; raises what the iterator raised, once all before it is taken."""
        if self.exhausted:
            return None
        try:
            item = self._ready.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, ScanPath):
            return item
        self.exhausted = True
        if item is not None:
            raise item
        return None

    def stop(self) -> None:
        """Ask for no more. An iterator that is waiting for something is left waiting."""
        self._stopped.set()
        self.exhausted = True

    def _work(self) -> None:
        try:
            for recipe in self._recipes:
                if not self._put(self._paths.made(recipe.path_id, partial(expand, recipe))):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: ScanPath | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
