"""Which file format a name means, and the short ones: HDF5, numpy and plain images."""

import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import h5py
import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.io import hdf5, mrc
from shallow2deep.io.image_files import open_image
from shallow2deep.io.microscopes import VENDORS, open_scene
from shallow2deep.io.ome_zarr import open_zarr
from shallow2deep.io.remote import is_remote, require_there, split_address
from shallow2deep.io.stored import Stored, axes_in, reading, require_file, size_in_bytes, voxel_size_in
from shallow2deep.io.tiff import open_tiff

PLAIN = (".h5", ".hdf5", ".zarr", ".tif", ".tiff", ".npy", ".png", ".jpg", ".jpeg", ".bmp")
ENDINGS = (*PLAIN, *mrc.ENDINGS, *VENDORS)
_KEYED = "|".join(["h5", "hdf5", "ilp", "zarr", "tiff?", *(ending[1:] for ending in VENDORS)])
_WITH_KEY = re.compile(rf"(?i)(.+?\.(?:{_KEYED}))(?:[/\\]?:(.*)|[/\\]+(.*))?")
_FILE_ADDRESS = re.compile(r"(?i)file:(?://(?:localhost)?)?(?=/)")
_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")


def split_name(name: str) -> tuple[Path, str | None]:
    """Path and inner path of `file.h5:inner/path`, or of `file.zarr/inner/path`.

    The colon of a Windows drive is part of the path. An address such as file:///data/a.zarr is a path, too.

    >>> path, key = split_name("data/stack.h5:volumes/raw")
    >>> path.as_posix(), key
    ('data/stack.h5', 'volumes/raw')
    >>> split_name("data/a.zarr/0")[1], split_name("data/positions.ome.tif:2")[1]
    ('0', '2')
    """
    plain = _without_scheme(name)
    match = _WITH_KEY.fullmatch(plain)
    path, key, inner = match.groups() if match else (plain, None, None)
    if inner and Path(inner).suffix.lower() in ENDINGS and ":" not in inner and not inner.endswith(".zarr"):
        path, inner = plain, None  # a file in a folder that is called so
    with reading(Path(path)):  # an unknown user after ~
        return Path(path).expanduser(), (key or inner or "").strip("/") or None


def _without_scheme(name: str) -> str:
    """The path in an address of a file, such as a program stores it."""
    match = _FILE_ADDRESS.match(name)
    if match is None:
        return name
    path = unquote(name[match.end() :])
    return path[1:] if _DRIVE.match(path) else path


def open_stored(name: str) -> Stored:
    """Opens the array that `name` means, without reading it.

    Raises:
        InputError: no such file or key, or an unknown ending; DamagedFileError if it cannot be read.
    """
    if is_remote(name):
        address, inner = split_address(name)
        require_there(address)
        return open_zarr(address, inner)
    path, key = split_name(name)
    with reading(path):
        exists = path.exists()
    if not exists:
        raise MissingDataError(f"{name}: there is no such file{_where(path)}; check the path")
    suffix = path.suffix.lower()
    if suffix == ".zarr":
        return open_zarr(path, key)
    check_ending(path)
    require_file(path)
    match suffix:
        case ".h5" | ".hdf5" | ".ilp":
            return open_hdf5(path, key)
        case ".tif" | ".tiff":
            return open_tiff(path, key)
        case ".npy":
            return open_npy(path)
    if suffix in mrc.ENDINGS:
        return mrc.open_mrc(path)
    if suffix in VENDORS:
        return open_scene(path, key)
    return open_image(path)


def check_ending(path: Path) -> None:
    """Whether a file is of a format that is read.

    Raises:
        InputError: saying what to do.
    """
    suffix = path.suffix.lower()
    if suffix == ".n5":
        raise InputError(
            f"{path}: N5 is not read, as zarr 3 reads it no more; convert it to Zarr, with tensorstore for "
            "example"
        )
    if suffix not in ENDINGS and suffix != ".ilp":
        raise InputError(f"{path}: unknown ending; give a file that ends in one of {', '.join(ENDINGS)}")


def _where(path: Path) -> str:
    """The first part of a path that is not there."""
    for parent in reversed(path.parents):
        if not parent.exists():
            return f", as there is no folder {parent}"
    return ""


def open_hdf5(path: Path, key: str | None) -> Stored:
    """An HDF5 dataset; axes and voxel size may stand in its attributes or in those of its parents."""
    with hdf5.opened(path) as file:
        node = hdf5.array_at(file, path, key)
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
            partial(_read_hdf5, path, node.name, hdf5.stamp_of(path)),
            axes[0] if axes else None,
            sizes[0] if sizes else {},
            size_in_bytes(node.chunks or (0,), node.dtype),
        )


def _read_hdf5(path: Path, key: str, stamp: hdf5.Stamp, window: Window) -> np.ndarray:
    with reading(path):
        if hdf5.stamp_of(path) != stamp:
            hdf5.contents(path)
        with h5py.File(path, "r") as file:
            node = file[key]
            hdf5.check_chunks(node, window)
            return node[window]


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
