"""Which file format a name means, and the short ones: HDF5, numpy and plain images."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.io.ome_zarr import open_zarr
from shallow2deep.io.stored import Stored, axes_in, no_such_key, reading, size_in_bytes, voxel_size_in
from shallow2deep.io.tiff import open_tiff

_WITH_KEY = re.compile(r"(?i)(.+?\.(?:h5|hdf5|ilp|zarr))[/\\]?(?::(.*))?")


def split_name(name: str) -> tuple[Path, str | None]:
    """Path and inner path of `file.h5:inner/path`; the colon of a Windows drive is part of the path.

    >>> path, key = split_name("data/stack.h5:volumes/raw")
    >>> path.as_posix(), key
    ('data/stack.h5', 'volumes/raw')
    """
    match = _WITH_KEY.fullmatch(name)
    path, key = match.groups() if match else (name, None)
    with reading(Path(path)):  # an unknown user after ~
        return Path(path).expanduser(), (key or "").strip("/") or None


def open_stored(name: str) -> Stored:
    """Opens the array that `name` means, without reading it.

    Raises:
        InputError: no such file or key, or an unknown ending; DamagedFileError if it cannot be read.
    """
    path, key = split_name(name)
    with reading(path):
        exists = path.exists()
    if not exists:
        raise MissingDataError(f"{name}: there is no such file; check the path")
    match path.suffix.lower():
        case ".h5" | ".hdf5" | ".ilp":
            return open_hdf5(path, key)
        case ".zarr":
            return open_zarr(path, key)
        case suffix if suffix in _PLAIN:
            return _PLAIN[suffix](path)
    raise InputError(f"{name}: unknown ending; give a file that ends in one of {', '.join(ENDINGS)}")


def open_hdf5(path: Path, key: str | None) -> Stored:
    """An HDF5 dataset; axes and voxel size may stand in its attributes or in those of its parents."""
    with reading(path), h5py.File(path, "r") as file:
        node = file.get(key) if key else None
        if not isinstance(node, h5py.Dataset):
            keys: list[str] = []
            file.visititems(lambda k, n: keys.append(k) if isinstance(n, h5py.Dataset) else None)
            if key or len(keys) != 1:
                raise no_such_key(path, key, keys)
            node = file[keys[0]]
        places = [node.attrs]
        parent = node
        while parent.name != "/":
            parent = parent.parent
            places.append(parent.attrs)
        shape = node.shape or ()
        # a parent's axes may be meant for another of its datasets
        axes = [a for p in places if (a := axes_in(p)) and (p is places[0] or len(a) == len(shape))]
        sizes = [s for p in places if (s := voxel_size_in(p))]
        return Stored(
            shape,
            node.dtype,
            partial(_read_hdf5, path, node.name),
            axes[0] if axes else None,
            sizes[0] if sizes else {},
            size_in_bytes(node.chunks or (0,), node.dtype),
        )


def _read_hdf5(path: Path, key: str, window: Window) -> np.ndarray:
    with reading(path), h5py.File(path, "r") as file:
        return file[key][window]


def open_npy(path: Path) -> Stored:
    """A numpy array; the file says nothing of axes."""
    array = _map_npy(path)
    return Stored(array.shape, array.dtype, partial(_read_npy, path))


def _map_npy(path: Path) -> np.ndarray:
    with reading(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of arrays")
        return array


def _read_npy(path: Path, window: Window) -> np.ndarray:
    return np.array(_map_npy(path)[window])


def open_image(path: Path) -> Stored:
    """A PNG, JPEG or BMP image, of which only the header is read."""
    with reading(path):
        properties = iio.improps(path, index=0, plugin="pillow")
    shape, dtype = properties.shape, np.dtype(properties.dtype)
    axes = "yxc" if len(shape) == 3 else "yx"
    return Stored(shape, dtype, partial(_read_image, path), axes, {}, size_in_bytes(shape, dtype))


def _read_image(path: Path, window: Window) -> np.ndarray:
    with reading(path):
        return iio.imread(path, index=0, plugin="pillow")[window]


_PLAIN: dict[str, Callable[[Path], Stored]] = {
    ".tif": open_tiff,
    ".tiff": open_tiff,
    ".npy": open_npy,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), open_image),
}
ENDINGS = (".h5", ".hdf5", ".zarr", *_PLAIN)
