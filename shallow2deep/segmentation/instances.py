"""From maps to instances: thresholds, watersheds, and what is left out. Pure functions of arrays."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import ndimage as ndi
from scipy.cluster.hierarchy import DisjointSet
from skimage.measure import label
from skimage.morphology import local_maxima, remove_small_holes
from skimage.segmentation import clear_border, relabel_sequential, watershed

from shallow2deep.segmentation.linking import linked
from shallow2deep.segmentation.size_limits import in_pixels
from shallow2deep.settings import ObjectsSettings

BOUNDARY_THRESHOLD = 0.5


def instances(
    foreground: np.ndarray,
    boundary: np.ndarray | None = None,
    settings: ObjectsSettings | None = None,
    voxel_size: Sequence[float] | None = None,
    threshold: float = 0.5,
) -> np.ndarray:
    """The objects of a map.

    Blobs are where the foreground is above the threshold, parted along the ridges of the boundary map where
    there is one, else at the narrowest places (see `parted`). Cells are what membranes, the foreground, part;
    they meet in the midst of the membranes.

    Args:
        foreground: float `([z,] y, x)` in 0..1.
        boundary: likewise, of the objects' borders; not used for cells.
        settings: how; the defaults if None. Its `threshold` "auto" is `threshold`.
        voxel_size: nm along each axis; distances are isotropic if it is None.

    Returns:
        int32 of the same shape: 0 background, objects 1, 2 … without gaps; none encloses background.

    Raises:
        InputError: sizes in units that the image has not.
    """
    settings = settings or ObjectsSettings()
    hole = in_pixels(settings.min_size, foreground.ndim, voxel_size)
    limit = threshold if settings.threshold == "auto" else settings.threshold
    cut = partial(_cut, settings=settings, threshold=limit, hole=int(hole))
    if settings.by_planes and foreground.ndim == 3:
        size = None if voxel_size is None else voxel_size[1:]
        edges = [None] * len(foreground) if boundary is None else boundary
        planes = [cut(p, b, size) for p, b in zip(foreground, edges, strict=True)]
        return selected(linked(np.stack(planes), settings.link), settings, voxel_size)
    return selected(cut(foreground, boundary, voxel_size), settings, voxel_size)


def _cut(
    p: np.ndarray,
    boundary: np.ndarray | None,
    voxel_size: Sequence[float] | None,
    settings: ObjectsSettings,
    threshold: float,
    hole: int,
) -> np.ndarray:
    """All objects of an image, whose numbers may have gaps."""
    above = p > threshold
    if settings.kind == "cells":
        return filled(parted(~above, np.ones_like(above), p, settings.split, voxel_size))
    mask = remove_small_holes(above, max_size=hole, connectivity=1)
    interior = mask if boundary is None else mask & (boundary <= BOUNDARY_THRESHOLD)
    return filled(parted(interior, mask, boundary, settings.split, voxel_size))


def parted(
    interior: np.ndarray,
    mask: np.ndarray,
    ridges: np.ndarray | None,
    depth: float,
    voxel_size: Sequence[float] | None = None,
) -> np.ndarray:
    """A mask parted into objects by a watershed from the middles of its interior.

    Each local maximum of the distance to the interior's border starts a basin. Two basins that touch are one
    object unless the distance falls by more than `depth` on the way between them, from the lower maximum: the
    watershed of the maxima of such dynamics (Grimaud 1992, doi 10.1117/12.60650), without a reconstruction.

    Args:
        interior: bool `(*spatial)`, within `mask`; parts of the mask without interior are left out.
        mask: bool, what is parted.
        ridges: along which basins meet; the distance's own valleys if None.
        depth: in units of the smallest of `voxel_size`, or in pixels.

    Returns:
        int32 `(*spatial)`: 0 outside of the mask.
    """
    if interior.all():
        return np.ones(interior.shape, np.int32)
    spacing = None if voxel_size is None else np.asarray(voxel_size) / min(voxel_size)
    distance = ndi.distance_transform_edt(interior, sampling=spacing)
    seeds = label(local_maxima(distance, connectivity=1) & interior, connectivity=1)
    basins = watershed(-distance if ridges is None else ridges, seeds, mask=mask)
    return _without_shallow_valleys(basins.astype(np.int32, copy=False), distance, depth)


def _without_shallow_valleys(basins: np.ndarray, height: np.ndarray, depth: float) -> np.ndarray:
    """Basins merged, from the highest saddle down, unless both have peaks more than `depth` above it."""
    count = int(basins.max())
    peaks = ndi.maximum(height, basins, np.arange(count + 1)) if count else np.zeros(1)
    sets = DisjointSet(range(count + 1))
    top = dict(enumerate(peaks.tolist()))
    for a, b, saddle in _saddles(basins, height):
        one, other = sets[a], sets[b]
        if one != other and min(top[one], top[other]) - saddle <= depth:
            sets.merge(one, other)
            top[sets[one]] = max(top[one], top[other])
    roots = np.array([0] + [sets[n] for n in range(1, count + 1)], np.int32)
    return roots[basins]


def _saddles(basins: np.ndarray, height: np.ndarray) -> list[tuple[int, int, float]]:
    """The pairs of basins that share a face, and the height of the highest pass, highest first."""
    count = np.int64(basins.max() + 1)
    pairs, lows = [], []
    for axis in range(basins.ndim):
        a, b = _neighbours(basins, axis)
        touching = (a != b) & (a > 0) & (b > 0)
        low, high = np.sort([a[touching], b[touching]], axis=0).astype(np.int64)
        pairs.append(low * count + high)
        lows.append(np.minimum(*_neighbours(height, axis))[touching])
    pair, heights = np.concatenate(pairs), np.concatenate(lows)
    order = np.lexsort((pair, -heights))
    first = np.sort(np.unique(pair[order], return_index=True)[1])
    chosen = order[first]
    return list(zip(*(v.tolist() for v in (*np.divmod(pair[chosen], count), heights[chosen])), strict=True))


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of pixels that follow each other along an axis."""
    moved = np.moveaxis(values, axis, 0)
    return moved[:-1], moved[1:]


def filled(labels: np.ndarray) -> np.ndarray:
    """Labels with all background filled that one object alone encloses."""
    parts = label(labels == 0, connectivity=1)
    low = np.full(parts.max() + 1, np.iinfo(np.int32).max)
    high = np.zeros_like(low)
    for axis in range(labels.ndim):
        for (part, _), (_, around) in (
            (_neighbours(parts, axis), _neighbours(labels, axis)),
            (_neighbours(parts, axis)[::-1], _neighbours(labels, axis)[::-1]),
        ):
            met = (part > 0) & (around > 0)
            np.minimum.at(low, part[met], around[met])
            np.maximum.at(high, part[met], around[met])
        for end in (0, -1):
            low[np.take(parts, end, axis)] = 0  # it goes on beyond the image
    return np.where((parts > 0) & (low == high)[parts], low[parts], labels).astype(np.int32)


def selected(
    labels: np.ndarray, settings: ObjectsSettings, voxel_size: Sequence[float] | None = None
) -> np.ndarray:
    """The objects of the sizes asked for, without those at the border if asked for, numbered anew."""
    if settings.clear_border:
        labels = clear_border(labels)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= in_pixels(settings.min_size, labels.ndim, voxel_size)
    if settings.max_size is not None:
        keep &= sizes <= in_pixels(settings.max_size, labels.ndim, voxel_size)
    keep[0] = False
    return relabel_sequential(np.where(keep[labels], labels, 0))[0].astype(np.int32)
