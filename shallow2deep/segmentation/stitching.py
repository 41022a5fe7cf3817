"""Objects of maps larger than memory: found block by block, and stitched where blocks touch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from shallow2deep.blocks import Window, blocks
from shallow2deep.errors import InputError
from shallow2deep.segmentation.measurements import Table, units_of
from shallow2deep.segmentation.size_limits import in_pixels
from shallow2deep.settings import ObjectsSettings

_MOST = np.iinfo(np.uint32).max


class Source(Protocol):
    """What blocks of a map `(*spatial)` are read from, such as a volume."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self, window: Window) -> np.ndarray: ...


@dataclass
class _Parts:
    """What is known of the objects of all blocks before they are stitched, in their order."""

    ndim: int
    count: int = 0
    rows: list[np.ndarray] = field(default_factory=list)  # size, sums of places, first and last places
    values: list[np.ndarray] = field(default_factory=list)  # sum, lowest, highest
    pairs: list[np.ndarray] = field(default_factory=list)

    def add(self, labels: np.ndarray, window: Window, images: Sequence[np.ndarray]) -> None:
        """The objects of a block, numbered from 1."""
        count = int(labels.max(initial=0))
        if count == 0:
            return
        places = np.nonzero(labels)
        numbers, index = labels[places] - 1, np.arange(1, count + 1)
        size = np.bincount(numbers, minlength=count).astype(np.float64)
        columns: list[Any] = [size]
        axes = [place + s.start for place, s in zip(places, window, strict=True)]
        columns += [np.bincount(numbers, axis, count) for axis in axes]
        boxes = ndi.find_objects(labels)
        columns += [[box[n].start + window[n].start for box in boxes] for n in range(self.ndim)]
        columns += [[box[n].stop + window[n].start for box in boxes] for n in range(self.ndim)]
        self.rows.append(np.array(columns, np.float64))
        measured = [
            (ndi.sum(i, labels, index), ndi.minimum(i, labels, index), ndi.maximum(i, labels, index))
            for i in images
        ]
        self.values.append(np.array(measured, np.float64).reshape(3 * len(images), count))
        self.count += count


def stitched(
    foreground: Source,
    out: Any,
    settings: ObjectsSettings,
    threshold: float,
    block: Sequence[int],
    images: Sequence[tuple[str, Source]] = (),
    voxel_size: Sequence[float] | None = None,
) -> Table:
    """The connected parts of a map above a threshold, of which one block at a time is in memory.

    Objects of blocks that share a face are one if any two of their pixels are neighbours across it: the
    connected components of the graph of those that touch. They are those of the whole map, whatever the
    blocks are, numbered in the order of the blocks.

    Args:
        foreground: floats `(*spatial)`.
        out: zeros `(*spatial)` of uint32, such as an array of zarr; gets the labels.
        settings: sizes, and whether objects at the border are left out. Touching objects are not parted, and
            holes are not filled.
        threshold: of the foreground.
        block: pixels per axis.
        images: by name, `(*spatial)`, whose intensities are measured.
        voxel_size: nm along each axis.

    Returns:
        a row for each object, with the columns of `measured` but those of ellipses.

    Raises:
        InputError: sizes in units that the image has not, or more objects than numbers.
    """
    least = in_pixels(settings.min_size, len(block), voxel_size)
    most = in_pixels(settings.max_size, len(block), voxel_size) if settings.max_size is not None else np.inf
    windows = [b.inner for b in blocks(foreground.shape, block, (0,) * len(block))]
    parts = _Parts(len(block))
    for window in windows:
        _label(foreground, out, threshold, window, parts, [image for _, image in images])
    rows, values, owners = _merged(parts, len(images))
    keep = (rows[0] >= least) & (rows[0] <= most)
    if settings.clear_border:
        first, last = rows[1 + len(block) : 1 + 2 * len(block)], rows[1 + 2 * len(block) :]
        keep &= (first > 0).all(0) & (last < np.array(foreground.shape)[:, None]).all(0)
    final = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    numbers = np.concatenate([[0], final[owners]]).astype(np.uint32)
    for window in windows:
        out[window] = numbers[np.asarray(out[window])]
    return _table(rows[:, keep], values[:, keep], [name for name, _ in images], voxel_size)


def _label(
    foreground: Source, out: Any, threshold: float, window: Window, parts: _Parts, images: Sequence[Source]
) -> None:
    """Writes a block's objects, numbered on from those before, and notes which ones those touch."""
    labels = label(foreground.read(window) > threshold, connectivity=1)
    before = parts.count
    parts.add(labels, window, [image.read(window) for image in images])
    if parts.count > _MOST:
        raise InputError(f"more than {_MOST} objects came; raise the threshold")
    numbered = np.where(labels > 0, labels + before, 0).astype(np.uint32)
    out[window] = numbered
    for axis, s in enumerate(window):
        if s.start > 0:
            face = (*window[:axis], slice(s.start - 1, s.start), *window[axis + 1 :])
            one, other = np.asarray(out[face]), numbered.take([0], axis)
            both = (one > 0) & (other > 0)
            parts.pairs.append(np.unique(np.stack([one[both], other[both]]), axis=1))


def _merged(parts: _Parts, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and values of whole objects, and which of these each part belongs to, from 0."""
    n, ndim = parts.count, parts.ndim
    empty = [np.zeros((2, 0), np.int64)]
    one, other = np.concatenate([*empty, *parts.pairs], axis=1).astype(np.int64) - 1
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(n, n))
    count, owners = connected_components(graph, directed=False) if n else (0, np.zeros(0, int))
    rows = np.concatenate([np.zeros((1 + 3 * ndim, 0)), *parts.rows], axis=1)
    values = np.concatenate([np.zeros((3 * images, 0)), *parts.values], axis=1)
    added = 1 + ndim
    whole = [np.bincount(owners, row, count) for row in rows[:added]]
    whole += [_least(owners, row, count) for row in rows[added : added + ndim]]
    whole += [-_least(owners, -row, count) for row in rows[added + ndim :]]
    of_images: list[np.ndarray] = []
    for total, low, high in values.reshape(images, 3, n):
        of_images += [
            np.bincount(owners, total, count),
            _least(owners, low, count),
            -_least(owners, -high, count),
        ]
    return np.array(whole), np.array(of_images).reshape(3 * images, count), owners


def _least(owners: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    found = np.full(count, np.inf)
    np.minimum.at(found, owners, values)
    return found


def _table(
    rows: np.ndarray, values: np.ndarray, names: Iterable[str], voxel_size: Sequence[float] | None
) -> Table:
    ndim = (len(rows) - 1) // 3
    size, axes = rows[0], "zyx"[-ndim:]
    bulk, pixels = ("area", "area_px") if ndim == 2 else ("volume", "volume_voxels")
    table = {"label": np.arange(1, len(size) + 1), pixels: size}
    if voxel_size is not None:
        table[f"{bulk}_um{ndim}"] = size * np.prod(np.asarray(voxel_size) / 1e3)
    for unit, factors in units_of(voxel_size, ndim):
        table |= {f"centroid_{a}_{unit}": rows[1 + n] / size * factors[n] for n, a in enumerate(axes)}
    for n, a in enumerate(axes):
        table[f"bbox_{a}_start"] = rows[1 + ndim + n].astype(np.int64)
        table[f"bbox_{a}_stop"] = rows[1 + 2 * ndim + n].astype(np.int64)
    for n, name in enumerate(names):
        total, low, high = values[3 * n : 3 * n + 3]
        table |= {f"{name}_mean": total / size, f"{name}_min": low, f"{name}_max": high}
    return table
