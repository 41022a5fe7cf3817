"""Probability maps into files that ilastik, ImageJ, napari and others open, and what their channels tell."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError, NotFiniteError
from shallow2deep.io import hdf5
from shallow2deep.io.atomic import atomic_path, room_for
from shallow2deep.io.disk_map import DiskMap, Map, complete_map
from shallow2deep.io.formats import split_name
from shallow2deep.io.remote import is_remote
from shallow2deep.io.stored import reading
from shallow2deep.io.tiff import AXES_KEY
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import Output, completed

OUTPUTS = "outputs"  # the name of the attribute with what each channel tells
ENDINGS = (".h5", ".hdf5", ".zarr", ".tif", ".tiff")
_ZLIB: dict[str, Any] = {"id": "zlib", "level": 1}
IMAGEJ_LIMIT = 2**32 - 2**25  # offsets have 32 bits; some room is for the headers


def write_probabilities(
    path: str | Path, p: Map, outputs: Sequence[Output], voxel_size: Sequence[float] | None = None
) -> Path:
    """Writes probabilities, whole or not at all, and the same bytes every time.

    Args:
        path: ends in .h5 or .hdf5 (with `:key` if the dataset is not to be called `exported_data`), in .zarr
            for OME-Zarr 0.4, or in .tif or .tiff for an ImageJ hyperstack.
        p: float32 `(C, y, x)` or `(C, z, y, x)`.
        outputs: what each channel tells; stored with the map, see `read_outputs`.
        voxel_size: nm along each spatial axis.

    Returns:
        the path of the file or folder.

    Raises:
        InputError: an unknown ending, a bad key, or arguments that do not fit each other.
        NotFiniteError: a probability is NaN or infinite; nothing is written.
    """
    target, key = split_name(str(path))
    suffix = target.suffix.lower()
    if suffix not in ENDINGS or (suffix == ".zarr" and key):
        raise InputError(f"{path}: cannot be written; give a name that ends in .h5, .h5:KEY, .zarr or .tif")
    if key and {"", ".", ".."} & set(key.split("/")):
        raise InputError(f"{path}: {key} is no key; give one such as exported_data")
    p = p if isinstance(p, DiskMap) else np.asarray(p, np.float32)
    if p.ndim not in (3, 4) or len(outputs) != len(p) or (voxel_size and len(voxel_size) != p.ndim - 1):
        raise InputError(
            f"{path}: probabilities of shape {p.shape} with channels {[o.title for o in outputs]} and voxel "
            f"size {voxel_size} came; give (C, y, x) or (C, z, y, x), C names and one size per spatial axis"
        )
    if not all(np.isfinite(p[window]).all() for window in _stripes(p)):
        raise NotFiniteError(f"{path}: the map has values that are NaN or infinite, so it is not written")
    sizes = tuple(float(v) for v in voxel_size) if voxel_size else None
    with atomic_path(target, p.nbytes) as temporary:
        if suffix == ".zarr":
            _write_zarr(temporary, p, outputs, sizes, target.stem)
        elif suffix in (".tif", ".tiff"):
            _write_tiff(temporary, p, outputs, sizes)
        else:
            _write_hdf5(temporary, p, outputs, sizes, key or "exported_data")
    if suffix in (".h5", ".hdf5"):
        hdf5.vouch(target, (key or "exported_data",))
    return target


def write_complete(
    path: str | Path,
    p: Map,
    outputs: Sequence[Output],
    background: str,
    voxel_size: Sequence[float] | None = None,
) -> Path:
    """Writes a map with its background first and classes that together make up 1, see `outputs.complete`.

    Args:
        background: the name of the class that all others stand out from.
        path, p, outputs, voxel_size, and the rest: see `write_probabilities`.
    """
    return write_probabilities(path, complete_map(p, outputs), completed(outputs, background), voxel_size)


def _axes(p: Map) -> str:
    return "cyx" if p.ndim == 3 else "czyx"


def chunks_of(shape: Sequence[int], channels: int = 1, by_planes: bool = False) -> tuple[int, ...]:
    """One channel, and at most 2 MiB of float32."""
    of_volumes = (1, 512, 512) if by_planes else (32, 128, 128)
    limits = (1,) * channels + ((512, 512) if len(shape) - channels == 2 else of_volumes)
    return tuple(min(n, m) for n, m in zip(shape, limits, strict=True))


def _stripes(p: Map) -> Iterator[Window]:
    """A map in parts of whole chunks, in their order in the file."""
    _, step, *_ = chunks_of(p.shape)
    for channel, start in product(range(len(p)), range(0, p.shape[1], step)):
        yield slice(channel, channel + 1), slice(start, min(start + step, p.shape[1]))


def _write_hdf5(
    path: Path, p: Map, outputs: Sequence[Output], voxel_size: tuple[float, ...] | None, key: str
) -> None:
    # vigra's form; typeFlags 1 is a channel, 2 a spatial axis
    tags = [
        {"key": a, "typeFlags": 1 if a == "c" else 2, "resolution": 0, "description": ""} for a in _axes(p)
    ]
    # in memory: a write that fails, as on a full disk, leaves HDF5 unable to close a file, and it crashes
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            key, p.shape, np.float32, chunks=chunks_of(p.shape), compression="gzip", shuffle=True
        )
        for window in _stripes(p):
            data[window] = p[window]
        data.attrs["axistags"] = json.dumps({"axes": tags})
        data.attrs["axes"] = _axes(p)
        data.attrs["channels"] = json.dumps([output.title for output in outputs])
        data.attrs[OUTPUTS] = json.dumps([output.to_dict() for output in outputs])
        if voxel_size:
            data.attrs["voxel_size_nm"] = voxel_size
        file.flush()
        content = file.id.get_file_image()
    with room_for(path, len(content)):
        path.write_bytes(content)


def _write_zarr(
    path: Path, p: Map, outputs: Sequence[Output], voxel_size: tuple[float, ...] | None, name: str
) -> None:
    array = create_ome_zarr(
        path, p.shape, np.dtype(np.float32), voxel_size, name, about_channels(outputs), "c"
    )
    for part in _stripes(p):
        array[part] = p[part]


def about_channels(outputs: Sequence[Output]) -> dict[str, Any]:
    """The attributes of an OME-Zarr that tell what the channels of a map are."""
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    labels: list[Any] = [
        {"label": output.title, "color": "FFFFFF", "active": True, "window": window} for output in outputs
    ]
    return {"omero": {"channels": labels}, OUTPUTS: [output.to_dict() for output in outputs]}


def create_ome_zarr(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype,
    voxel_size: Sequence[float] | None,
    name: str,
    about: dict[str, Any],
    channel: str = "",
    factors: Sequence[Sequence[int]] = (),
    by_planes: bool = False,
) -> zarr.Array:
    """An empty array in a new OME-Zarr 0.4.

    Args:
        shape: `([C,] [z,] y, x)`.
        voxel_size: nm along each spatial axis.
        about: further attributes of the group.
        channel: "c" if the first axis is that of channels.
        factors: of further levels, how many pixels of the array one of theirs is, along each spatial axis.
        by_planes: whether each plane of a volume has chunks of its own.
    """
    spatial = len(shape) - len(channel)
    unit = {"unit": "nanometer"} if voxel_size else {}
    axes: list[dict[str, str]] = [{"name": c, "type": "channel"} for c in channel]
    axes += [{"name": a, "type": "space", **unit} for a in "zyx"[-spatial:]]
    levels = [(1,) * spatial, *factors]
    sizes = tuple(map(float, voxel_size or (1.0,) * spatial))
    datasets = [_dataset(str(n), len(channel), sizes, level) for n, level in enumerate(levels)]
    attributes: dict[str, Any] = {
        "multiscales": [{"version": "0.4", "name": name, "axes": axes, "datasets": datasets}],
        **about,
    }
    group = zarr.open_group(str(path), mode="w", zarr_format=2, attributes=attributes)
    for n, level in enumerate(levels):
        reduced = (-(-m // factor) for m, factor in zip(shape[len(channel) :], level, strict=True))
        of_level = (*shape[: len(channel)], *reduced)
        group.create_array(
            str(n),
            shape=of_level,
            dtype=dtype,
            chunks=chunks_of(of_level, len(channel), by_planes),
            compressors=_ZLIB,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            fill_value=0,
        )
    array = group["0"]
    assert isinstance(array, zarr.Array)
    return array


def _dataset(name: str, channels: int, sizes: tuple[float, ...], level: Sequence[int]) -> dict[str, Any]:
    """A level in OME-Zarr's words; the middle of its first pixel is that of those that it is the mean of."""
    scale = [*(1.0,) * channels, *(v * factor for v, factor in zip(sizes, level, strict=True))]
    change: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(factor > 1 for factor in level):
        middle = [v * (factor - 1) / 2 for v, factor in zip(sizes, level, strict=True)]
        change.append({"type": "translation", "translation": [*(0.0,) * channels, *middle]})
    return {"path": name, "coordinateTransformations": change}


def _write_tiff(path: Path, p: Map, outputs: Sequence[Output], voxel_size: tuple[float, ...] | None) -> None:
    if p.nbytes > IMAGEJ_LIMIT:
        raise InputError(
            f"{p.nbytes / 1e9:.1f} GB came, but TIFF files for ImageJ hold up to 4.2; write .h5 or .zarr"
        )
    depth = 1 if p.ndim == 3 else p.shape[1]
    metadata: dict[str, Any] = {
        "axes": "CYX" if p.ndim == 3 else "ZCYX",
        "Labels": [output.title for output in outputs] * depth,
        AXES_KEY: _axes(p),
        OUTPUTS: json.dumps([output.to_dict() for output in outputs]),
    }
    resolution = None
    if voxel_size:
        *z, y, x = (v / 1e3 for v in voxel_size)
        metadata |= {"unit": "micron", **({"spacing": z[0]} if z else {})}
        resolution = (1 / x, 1 / y)
    whole = np.asarray(p)
    data = whole if p.ndim == 3 else np.ascontiguousarray(whole.swapaxes(0, 1))
    tifffile.imwrite(path, data, imagej=True, resolution=resolution, metadata=metadata)


def read_outputs(name: str | Path) -> tuple[Output, ...] | None:
    """What each channel tells; None if the file, which may be of another program, does not say.

    Raises:
        DamagedFileError: it cannot be read.
    """
    path, key = split_name(str(name))
    if is_remote(path):
        return None
    with reading(path):
        stored = _attribute(path, key)
        records = json.loads(stored) if isinstance(stored, str | bytes) else stored
        return None if records is None else tuple(Output.from_dict(record) for record in records)


def read_map(name: str | Path) -> tuple[np.ndarray, tuple[Output, ...]]:
    """A map float32 `(K, [z,] y, x)` that `write_probabilities` wrote, and what its channels tell.

    Raises:
        InputError: the file does not say what they tell; DamagedFileError if it cannot be read.
    """
    outputs = read_outputs(name)
    if outputs is None:
        raise InputError(f"{name} does not say what its channels tell; run the command that made it again")
    return open_volume(name).read(), outputs


def _attribute(path: Path, key: str | None) -> Any:
    match path.suffix.lower():
        case ".h5" | ".hdf5":
            if not key and len(hdf5.contents(path).arrays) != 1:
                return None
            with hdf5.opened(path) as file:
                return hdf5.array_at(file, path, key).attrs.get(OUTPUTS)
        case ".zarr":
            return zarr.open_group(str(path), mode="r").attrs.get(OUTPUTS)
        case ".tif" | ".tiff":
            with tifffile.TiffFile(path) as tif:
                return (tif.imagej_metadata or {}).get(OUTPUTS)
    return None
