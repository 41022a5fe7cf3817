"""What objects measure, in pixels and, where the voxel size is known, in micrometres."""

from collections.abc import Mapping, Sequence

import numpy as np
from skimage.measure import regionprops_table

Table = dict[str, np.ndarray]
"""Columns by name, of one length."""

_INTENSITIES = ("mean", "min", "max")


def measured(
    labels: np.ndarray,
    voxel_size: Sequence[float] | None = None,
    intensities: Mapping[str, np.ndarray] | None = None,
) -> Table:
    """A row for each object, in the order of their numbers.

    Columns: `label`; `area_px` or `volume_voxels`; `centroid_y_px` …; `bbox_y_start`, `bbox_y_stop` …
    (pixels; the stop is just beyond); of images also the axes of the ellipse of the same second moments, and
    its eccentricity. With a voxel size also `area_um2` or `volume_um3`, `centroid_y_um` … and the axes in µm.

    Args:
        labels: whole numbers `([z,] y, x)`, 0 background.
        voxel_size: nm along each axis.
        intensities: images `([C,] [z,] y, x)` by name; columns `NAME_mean`, `NAME_min`, `NAME_max`, or with
            channels `NAME_c0_mean` …
    """
    axes = "zyx"[-labels.ndim :]
    bulk = "area" if labels.ndim == 2 else "volume"
    found = regionprops_table(labels, properties=("label", "area", "centroid", "bbox"))
    table = {"label": found["label"], "area_px" if labels.ndim == 2 else "volume_voxels": found["area"]}
    if voxel_size is not None:
        table[f"{bulk}_um{labels.ndim}"] = found["area"] * np.prod(np.asarray(voxel_size) / 1e3)
    for unit, factors in units_of(voxel_size, labels.ndim):
        table |= {f"centroid_{a}_{unit}": found[f"centroid-{n}"] * factors[n] for n, a in enumerate(axes)}
    for n, a in enumerate(axes):
        table |= {f"bbox_{a}_start": found[f"bbox-{n}"], f"bbox_{a}_stop": found[f"bbox-{n + len(axes)}"]}
    if labels.ndim == 2:
        table |= _ellipses(labels, voxel_size)
    for name, image in (intensities or {}).items():
        table |= _intensities(labels, name, image)
    return table


def units_of(voxel_size: Sequence[float] | None, ndim: int) -> list[tuple[str, Sequence[float]]]:
    """The units that lengths are told in, and how many of each a pixel has along each axis."""
    units: list[tuple[str, Sequence[float]]] = [("px", (1.0,) * ndim)]
    if voxel_size is not None:
        units.append(("um", [v / 1e3 for v in voxel_size]))
    return units


def _ellipses(labels: np.ndarray, voxel_size: Sequence[float] | None) -> Table:
    table: Table = {}
    for unit, spacing in units_of(voxel_size, 2):
        names = ("axis_major_length", "axis_minor_length", "eccentricity")
        found = regionprops_table(labels, properties=names, spacing=tuple(spacing))
        table |= {f"{name.removesuffix('_length')}_{unit}": found[name] for name in names[:2]}
        table["eccentricity"] = found["eccentricity"]  # in the end of the true shape
    return table


def _intensities(labels: np.ndarray, name: str, image: np.ndarray) -> Table:
    several = image.ndim > labels.ndim
    channels = [(f"{name}_c{n}", one) for n, one in enumerate(image)] if several else [(name, image)]
    table: Table = {}
    for title, one in channels:
        found = regionprops_table(labels, one, properties=[f"intensity_{what}" for what in _INTENSITIES])
        table |= {f"{title}_{what}": found[f"intensity_{what}"] for what in _INTENSITIES}
    return table
