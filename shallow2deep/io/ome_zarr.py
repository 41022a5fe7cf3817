"""Zarr arrays, version 2 and 3, with the metadata of OME-Zarr where there is any."""

from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import NodeNotFoundError

from shallow2deep.blocks import Window
from shallow2deep.io.stored import (
    NANOMETRES,
    Stored,
    axes_in,
    no_such_key,
    reading,
    size_in_bytes,
    voxel_size_in,
)

_BLOSC_HEADER = 16  # bytes; the last four hold the size of the whole chunk


def open_zarr(path: Path, key: str | None) -> Stored:
    """The array at `key`; of an OME-Zarr group, the first and finest one."""
    with reading(path):
        node = _node(path, key)
        if node is None:
            root = _node(path, None)
            raise no_such_key(path, key, _arrays(root) if isinstance(root, zarr.Group) else [])
        if isinstance(node, zarr.Group):
            datasets = _multiscales(node).get("datasets")
            inner = [datasets[0]["path"]] if datasets else _arrays(node)
            if len(inner) != 1:
                raise no_such_key(path, None, [f"{key}/{k}" if key else k for k in inner])
            key = f"{key}/{inner[0]}" if key else inner[0]
            node = _node(path, key)
        if not isinstance(node, zarr.Array):
            raise ValueError(f"the metadata name an array {key} that is not there")
        axes, voxel_size = _metadata(path, key, node)
        return Stored(
            node.shape,
            np.dtype(node.dtype),
            partial(_read_zarr, path, key),
            axes,
            voxel_size,
            size_in_bytes(node.shards or node.chunks, node.dtype),
        )


def _read_zarr(path: Path, key: str | None, window: Window) -> np.ndarray:
    with reading(path):
        array = zarr.open_array(str(path), mode="r", path=key or "")
        if len(array.compressors) == 1 and "blosc" in str(array.compressors).lower() and not array.shards:
            _check_blosc(path / (key or ""), array, window)
        return np.asarray(array[window])


def _check_blosc(folder: Path, array: zarr.Array[Any], window: Window) -> None:
    """Refuses chunks that are cut off: Blosc would read whatever lies behind them in memory."""
    ranges = (range(s.start // n, -(-s.stop // n)) for s, n in zip(window, array.chunks, strict=True))
    for chunk in product(*ranges):
        file = folder / array.metadata.encode_chunk_key(chunk)
        if file.is_file():
            with file.open("rb") as opened:
                header = opened.read(_BLOSC_HEADER)
            if int.from_bytes(header[12:], "little") != file.stat().st_size or len(header) < _BLOSC_HEADER:
                raise ValueError(f"chunk {file.name} is cut off")


def _node(path: Path, key: str | None) -> zarr.Group | zarr.Array[Any] | None:
    try:
        return zarr.open(str(path), mode="r", path=key or "")
    except NodeNotFoundError:
        return None


def _arrays(group: zarr.Group) -> list[str]:
    return sorted(k for k, node in group.members(max_depth=None) if isinstance(node, zarr.Array))


def _multiscales(group: zarr.Group) -> dict[str, Any]:
    """The first multiscale image of an OME-Zarr group, version 0.4 or 0.5; empty if there is none."""
    attributes: Any = group.attrs.asdict()
    images = attributes.get("ome", attributes).get("multiscales")
    return dict(images[0]) if images else {}


def _metadata(path: Path, key: str | None, array: Any) -> tuple[str | None, dict[str, float]]:
    """Axes and voxel size from the group around the array, or else from the array's own attributes."""
    if key:
        folder, _, last = key.rpartition("/")
        group = _node(path, folder)
        image = _multiscales(group) if isinstance(group, zarr.Group) else {}
        for dataset in image.get("datasets", ()):
            if dataset["path"] == last and "axes" in image:
                return _ome_metadata(image, dataset)
    attributes: Mapping[str, Any] = array.attrs.asdict()
    names = attributes.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(map(str, names))
    return axes_in(attributes) or (letters if len(letters) == array.ndim else None), voxel_size_in(attributes)


def _ome_metadata(image: Mapping[str, Any], dataset: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    axes = [a if isinstance(a, dict) else {"name": a} for a in image["axes"]]
    scale = np.ones(len(axes))
    for place in (image, dataset):
        for step in place.get("coordinateTransformations", ()):
            scale = scale * np.asarray(step.get("scale", 1.0), float)
    units = [NANOMETRES.get(str(a.get("unit")).lower()) for a in axes]
    names = "".join(a["name"] for a in axes)
    return names, {a: s * u for a, s, u in zip(names, scale.tolist(), units, strict=True) if u}
