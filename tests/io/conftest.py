"""Writes arrays in every format, with the formats' own libraries."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import zarr

Store = Callable[[Path, np.ndarray, str], str]


def _hdf5(folder: Path, array: np.ndarray, axes: str) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("some/raw", data=array, chunks=True, compression="gzip")
        data.attrs["axistags"] = json.dumps({"axes": [{"key": a} for a in axes]})
    return f"{folder}/a.h5:some/raw"


def _zarr(zarr_format: int) -> Store:
    def store(folder: Path, array: np.ndarray, axes: str) -> str:
        group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=zarr_format)
        chunks = tuple(min(n, 3) for n in array.shape)
        group.create_array("raw", data=array, chunks=chunks, attributes={"axes": axes})
        return f"{folder}/a.zarr:raw"

    return store


def _tiff(**options: object) -> Store:
    def store(folder: Path, array: np.ndarray, axes: str) -> str:
        # photometric keeps a last axis of size 3 from becoming RGB
        path, metadata = folder / "a.tif", {"axes": axes.upper()}
        tifffile.imwrite(path, array, metadata=metadata, photometric="minisblack", **options)
        return str(path)

    return store


def _npy(folder: Path, array: np.ndarray, axes: str) -> str:
    np.save(folder / "a.npy", array)
    return f"{folder}/a.npy"


def _png(folder: Path, array: np.ndarray, axes: str) -> str:
    iio.imwrite(folder / "a.png", array)
    return f"{folder}/a.png"


STORES: dict[str, Store] = {
    "hdf5": _hdf5,
    "zarr2": _zarr(2),
    "zarr3": _zarr(3),
    "tiff": _tiff(),
    "tiff, compressed": _tiff(compression="zlib"),
    "tiff, tiled": _tiff(tile=(16, 16)),
    "npy": _npy,
    "png": _png,
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    """Writes an array in one format and gives its name; all formats in turn."""
    return STORES[request.param]


@pytest.fixture
def stacks(store: Store) -> bool:
    """Whether the format at hand holds more than grey and RGB images."""
    return store is not _png


@pytest.fixture
def stores() -> dict[str, Store]:
    """The writers of all formats, by format."""
    return STORES
