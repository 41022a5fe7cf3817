"""Volumes at another pixel size, still lazy: every window is computed from the part of the file it needs."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.volumes import Volume

_TRUNCATE = 4.0  # deviations of a Gaussian that are summed

Along = Callable[[np.ndarray, int, slice, int, int, int], np.ndarray]


def at_pixel_size(volume: Volume, pixel_size: float, voxel_size: tuple[float, ...] | None) -> Volume:
    """Raw whose pixels along y and x have another size; planes stay as they are.

    What gets smaller is smoothed before, by a Gaussian of deviation (1 / factor - 1) / 2 as scikit-image's
    `resize` does; in between values are interpolated linearly. Whole numbers are rounded.

    Args:
        pixel_size: nm.
        voxel_size: of the volume as it is, nm.

    Raises:
        InputError: that is not known.
    """
    return _resampled(volume, pixel_size, voxel_size, _linear)


def labels_at_pixel_size(labels: Volume, pixel_size: float, voxel_size: tuple[float, ...] | None) -> Volume:
    """The same of labels, by the nearest pixels."""
    return _resampled(labels, pixel_size, voxel_size, _nearest)


def _resampled(
    volume: Volume, pixel_size: float, voxel_size: tuple[float, ...] | None, along: Along
) -> Volume:
    if voxel_size is None:
        raise InputError(
            f"{volume.name}: its pixel size is not known, so it cannot be brought to {pixel_size:g} nm; "
            "state voxel_size"
        )
    old = volume.shape[-2:]
    new = tuple(max(1, round(n * s / pixel_size)) for n, s in zip(old, voxel_size[-2:], strict=True))
    if new == old:
        return volume
    return replace(
        volume,
        shape=(*volume.shape[:-2], *new),
        voxel_size=(*voxel_size[:-2], pixel_size, pixel_size),
        identity=f"{volume.identity} {new} {along.__name__}",
        indices=None,
        _read=partial(_read_resampled, volume, new, along),
    )


def _read_resampled(volume: Volume, new: tuple[int, ...], along: Along, window: Window) -> np.ndarray:
    """Both axes one after the other; each pixel is computed alike, whichever window it is in."""
    old = volume.shape[-2:]
    parts = [_needed(part, n, m) for part, n, m in zip(window[-2:], old, new, strict=True)]
    values = volume.read((*window[:-2], *parts))
    for axis, part, first, n, m in zip((-2, -1), window[-2:], parts, old, new, strict=True):
        if n != m:
            values = along(values, axis, part, first.start, n, m)
    if volume.dtype.kind in "ui":
        values = np.rint(values)
    return values.astype(volume.dtype)


def _sigma(old: int, new: int) -> float:
    return max(0.0, (old / new - 1) / 2)


def _places(part: slice, old: int, new: int) -> np.ndarray:
    """Where the middles of some of the new pixels lie among the old ones."""
    return (np.arange(part.start, part.stop) + 0.5) * (old / new) - 0.5


def _needed(part: slice, old: int, new: int) -> slice:
    """The old pixels that some of the new ones are made from."""
    margin = 2 + math.ceil(_TRUNCATE * _sigma(old, new))
    places = _places(part, old, new) if part.stop > part.start else np.zeros(1)
    low, high = math.floor(places[0]) - margin, math.ceil(places[-1]) + margin
    return slice(max(low, 0), min(high + 1, old))


def _linear(values: np.ndarray, axis: int, part: slice, first: int, old: int, new: int) -> np.ndarray:
    values = values.astype(np.float64)
    if sigma := _sigma(old, new):
        values = ndi.gaussian_filter1d(values, sigma, axis, mode="reflect", truncate=_TRUNCATE)
    places = _places(part, old, new).clip(0, old - 1)
    below = np.floor(places).astype(int)
    share = (places - below).reshape([-1 if n == axis % values.ndim else 1 for n in range(values.ndim)])
    lower = values.take(below - first, axis)
    upper = values.take(np.minimum(below + 1, old - 1) - first, axis)
    return lower * (1 - share) + upper * share


def _nearest(values: np.ndarray, axis: int, part: slice, first: int, old: int, new: int) -> np.ndarray:
    nearest = np.floor(_places(part, old, new) + 0.5).astype(int).clip(0, old - 1)
    return values.take(nearest - first, axis)
