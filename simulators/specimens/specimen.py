"""A specimen under a probe: a recipe of :mod:`.library`, rendered when needed, looked up at will."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from simulators.probe import Probe
from simulators.specimens.library import AnySpecimen, Micrograph
from simulators.specimens.scattering import detected_fraction, needs_low
from simulators.specimens.scene import Field, render

__all__ = ["Specimen"]


class Specimen:
    """Continuous: the scattered fraction at any position, in any field of view, in any frame.

    Args:
        recipe: what the specimen is.
        probe: what looks at it.
        kinds: the detectors that will be asked for (``HAADF``, ``ADF``, ``BF``).
        disorder_nm: above 0, the field also holds the specimen turned amorphous (for beam damage).
    """

    def __init__(
        self, recipe: AnySpecimen, probe: Probe, kinds: tuple[str, ...] = ("HAADF",), disorder_nm: float = 0.0
    ) -> None:
        if isinstance(recipe, Micrograph):
            recipe.image()  # a file that cannot be read is refused now, and not with the first frame
        self.recipe = recipe
        self.probe = probe
        self.low = needs_low(kinds)
        self._disorder_nm = disorder_nm
        self._key: tuple[float, float, int] | None = None
        self._field: Field | None = None
        self._ahead: dict[tuple[float, float, int], Future[Field]] = {}
        self._pool: ThreadPoolExecutor | None = None

    @property
    def evolves(self) -> bool:
        """Whether the specimen changes from frame to frame by itself."""
        return bool(getattr(self.recipe, "evolves", False))

    def field(self, width_nm: float, height_nm: float, frame: int = 0) -> Field:
        """The field under a scan of that size; rendered again only if the scan's size or the frame matter to it."""
        key = self._key_of(width_nm, height_nm, frame)
        if self._field is None or key != self._key:
            ahead = self._ahead.pop(key, None)
            self._ahead.clear()
            self._field = ahead.result() if ahead is not None else self._rendered(key)
            self._key = key
        return self._field

    def prefetch(self, width_nm: float, height_nm: float, frame: int) -> None:
        """Begin to render another frame's field beside the scan, so that the beam need not wait for it."""
        key = self._key_of(width_nm, height_nm, frame)
        if key != self._key and key not in self._ahead:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "render")
            self._ahead[key] = self._pool.submit(self._rendered, key)

    def close(self) -> None:
        """Wait for what is being rendered, and end its thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _key_of(self, width_nm: float, height_nm: float, frame: int) -> tuple[float, float, int]:
        fills = isinstance(self.recipe, Micrograph) and self.recipe.size_nm is None
        return (width_nm if fills else 0.0, height_nm if fills else 0.0, frame if self.evolves else 0)

    def _rendered(self, key: tuple[float, float, int]) -> Field:
        return render(self.recipe.scene(*key), self.probe, low=self.low, disorder_nm=self._disorder_nm)

    def scattered(
        self,
        kinds: tuple[str, ...],
        y_nm: NDArray[np.float32],
        x_nm: NDArray[np.float32],
        width_nm: float = 20.0,
        frame: int = 0,
        height_nm: float | None = None,
    ) -> NDArray[np.float32]:
        """Fraction of the beam that reaches each detector, (kinds, n) in [0, 1], at positions (n,) from the middle.

        The size of the field matters to specimens that fill it; it is square without ``height_nm``.
        """
        layers = self.field(width_nm, height_nm or width_nm, frame).lookup(
            np.asarray(y_nm, np.float32), np.asarray(x_nm, np.float32)
        )
        low = layers[1] if self.low else None
        return np.stack([detected_fraction(kind, layers[0], low) for kind in kinds])
