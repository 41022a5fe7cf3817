"""Label images and masks into files that Fiji, napari, QuPath and others open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import tifffile
import zarr

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import atomic_path, write_bytes
from shallow2deep.io.map_files import IMAGEJ_LIMIT, create_ome_zarr
from shallow2deep.io.tiff import AXES_KEY

FORMATS = ("tif", "zarr")
_UUID = "00000000-0000-0000-0000-000000000000"  # in place of a random one: the same bytes every time


def write_labels(path: Path, labels: np.ndarray, voxel_size: Sequence[float] | None = None) -> Path:
    """Writes a label image, whole or not at all, and the same bytes every time.

    Args:
        path: ends in .tif (for ImageJ; as OME-TIFF where there are more than 65535 objects, which ImageJ's
            own form cannot hold) or in .zarr (OME-Zarr 0.4).
        labels: whole numbers `([z,] y, x)` from 0; stored as uint16, or uint32 where needed.
        voxel_size: nm along each axis.

    Returns:
        the path.

    Raises:
        InputError: another ending.
    """
    small = labels.max(initial=0) <= np.iinfo(np.uint16).max
    labels = labels.astype(np.uint16 if small else np.uint32)
    if path.suffix not in (".tif", ".zarr"):
        raise InputError(f"{path}: labels are written as .tif or .zarr; give such a name")
    with atomic_path(path, labels.nbytes) as temporary:
        if path.suffix == ".zarr":
            create_labels(temporary, labels.shape, labels.dtype, voxel_size, path.stem)[...] = labels
        else:
            _write_tiff(temporary, labels, voxel_size)
    return path


def create_labels(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, voxel_size: Sequence[float] | None, name: str
) -> zarr.Array:
    """An OME-Zarr of labels, all 0 yet, to be filled block by block."""
    return create_ome_zarr(path, shape, dtype, voxel_size, name, {"image-label": {"version": "0.4"}})


def write_mask(path: Path, mask: np.ndarray, voxel_size: Sequence[float] | None = None) -> Path:
    """Writes a mask, 0 and 255 in 8 bits, whole or not at all: a .png of an image, or a .tif."""
    values = np.where(mask, np.uint8(255), np.uint8(0))
    if path.suffix == ".png":
        write_bytes(path, iio.imwrite("<bytes>", values, extension=".png"))
        return path
    with atomic_path(path, values.nbytes) as temporary:
        _write_tiff(temporary, values, voxel_size)
    return path


def _write_tiff(path: Path, values: np.ndarray, voxel_size: Sequence[float] | None) -> None:
    axes = "ZYX"[-values.ndim :]
    microns = [v / 1e3 for v in voxel_size] if voxel_size else []
    if values.dtype == np.uint32 or values.nbytes > IMAGEJ_LIMIT:
        sizes = dict(zip(axes, microns, strict=False))
        physical = {f"PhysicalSize{a}": v for a, v in sizes.items()}
        units = {f"PhysicalSize{a}Unit": "µm" for a in sizes}
        about: dict[str, Any] = {"axes": axes, "UUID": _UUID, **physical, **units}
        tifffile.imwrite(path, values, ome=True, compression="zlib", metadata=about)
        return
    metadata: dict[str, Any] = {"axes": axes, AXES_KEY: axes.lower()}
    resolution = None
    if microns:
        *z, y, x = microns
        metadata |= {"unit": "micron", **({"spacing": z[0]} if z else {})}
        resolution = (1 / x, 1 / y)
    tifffile.imwrite(path, values, imagej=True, compression="zlib", resolution=resolution, metadata=metadata)
