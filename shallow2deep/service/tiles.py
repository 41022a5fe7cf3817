"""Parts of images as PNG, of bounded size whatever the size of the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import Volume, open_volume

TILE = 256  # pixels along y and x
_BAND = 2**26  # values that are read at once
_SAMPLE = 512  # pixels along y and x of what the contrast is found on
_LOW, _HIGH = 0.5, 99.5  # percentiles


@dataclass(frozen=True)
class View:
    """A plane of an image, and what of its values is black and white.

    Attributes:
        plane: `(y, x)`.
    """

    plane: Volume
    low: float
    high: float

    def tile(self, level: int, y: int, x: int) -> bytes:
        """A PNG of at most `TILE` pixels along y and x.

        Args:
            level: each pixel of the tile is one of 2**level of the image along y and x.

        Raises:
            InputError: it lies outside.
        """
        step = 2**level
        side = TILE * step
        starts = (y * side, x * side)
        if any(start >= n for start, n in zip(starts, self.plane.shape, strict=True)):
            raise InputError(
                f"tile {y}, {x} lies outside of {self.plane.shape} at level {level}; take one within"
            )
        window = tuple(slice(a, min(a + side, n)) for a, n in zip(starts, self.plane.shape, strict=True))
        return self._png(thinned(self.plane.crop(window), step))

    def thumbnail(self, size: int) -> bytes:
        """A PNG of all of it, with about `size` pixels along its longer side."""
        return self._png(thinned(self.plane, max(1, -(-max(self.plane.shape) // size))))

    def _png(self, values: np.ndarray) -> bytes:
        scaled = (values.astype(np.float32) - self.low) / max(self.high - self.low, 1e-12)
        return png(np.nan_to_num(scaled.clip(0, 1) * 255).round().astype(np.uint8))


def png(values: np.ndarray) -> bytes:
    """An image of 8 bits as PNG."""
    data: bytes = iio.imwrite("<bytes>", values, extension=".png")
    return data


def view_of(path: Path, key: str | None, z: int | None, channel: int | None) -> View:
    """A plane of an image; the middle one, and grey of colours, unless others are asked for.

    Raises:
        InputError: no image, or no such plane or channel; DamagedFileError.
    """
    stat = path.stat()
    return _view(path, key, z, channel, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


@lru_cache(64)
def _view(path: Path, key: str | None, z: int | None, channel: int | None, stamp: Sequence[int]) -> View:
    volume = open_volume(f"{path}:{key}" if key else path)
    if channel is None:
        volume = volume.grey()
    elif "c" in volume.axes or channel:
        volume = volume.pick([channel])
    planes = volume.planes()
    number = len(planes) // 2 if z is None else z
    if not 0 <= number < len(planes):
        raise InputError(
            f"plane {number} was asked for, but there are {len(planes)}; take one of them, from 0"
        )
    plane = planes[number]
    sample = thinned(plane, max(1, max(plane.shape) // _SAMPLE))
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    low, high = np.percentile(finite, (_LOW, _HIGH)) if finite.size else (0.0, 1.0)
    return View(plane, float(low), float(high))


def thinned(plane: Volume, step: int) -> np.ndarray:
    """Every `step`th pixel along y and x, read in bands so that large images need little memory."""
    height, width = plane.shape
    rows = max(1, _BAND // max(1, width * step)) * step
    bands = [
        plane.read((slice(top, min(top + rows, height)), slice(0, width)))[::step, ::step]
        for top in range(0, height, rows)
    ]
    return np.concatenate(bands)
