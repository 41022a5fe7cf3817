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
from shallow2deep.io import remote
from shallow2deep.io.stored import (
    NANOMETRES,
    Stored,
    axes_in,
    check_packed,
    no_such_key,
    reading,
    require_file,
    size_in_bytes,
    voxel_size_in,
)
from shallow2deep.io.unpacking import CODECS, WHOLE, check_unpacked

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_OLD_AXES = "tczyx"  # of OME-Zarr before 0.3, which does not state them
_HEADER = 32  # bytes; in them codecs tell how much they unpack to


Place = Path | str
"""Of a zarr: a folder, or an address elsewhere."""


def open_zarr(path: Place, key: str | None) -> Stored:
    """The array at `key`; of an OME-Zarr group, the first and finest one."""
    with reading(path):
        if isinstance(path, Path):
            _check_metadata(path, key)
        key = _level(path, key)
        node = _node(path, key)
        if node is None:
            root = _node(path, None)
            raise no_such_key(path, key, _choices(root) if isinstance(root, zarr.Group) else [])
        while isinstance(node, zarr.Group):
            inner = _finest(node) or _choices(node)
            if len(inner) != 1:
                raise no_such_key(path, None, [f"{key}/{k}" if key else k for k in inner])
            key = f"{key}/{inner[0]}" if key else inner[0]
            node = _node(path, key)
        if not isinstance(node, zarr.Array):
            raise ValueError(f"the metadata name an array {key} that is not there")
        axes, voxel_size, channels = _metadata(path, key, node)
        return Stored(
            node.shape,
            np.dtype(node.dtype),
            partial(_read_zarr, path, key),
            axes,
            voxel_size,
            size_in_bytes(node.shards or node.chunks, node.dtype),
            channels=channels,
        )


def _check_metadata(path: Path, key: str | None) -> None:
    """Refuses what would wait for ever in place of a small file."""
    inner = Path(key or "")
    for folder in (path, *(path / part for part in (*inner.parents, inner))):
        for file in (folder / name for name in _METADATA):
            if file.exists():
                require_file(file)


def _read_zarr(path: Place, key: str | None, window: Window) -> np.ndarray:
    with reading(path):
        array = zarr.open_array(str(path), mode="r", path=key or "")
        _check_chunks(path, key or "", array, window)
        return np.asarray(array[window])


def _check_chunks(path: Place, key: str, array: zarr.Array[Any], window: Window) -> None:
    """Refuses chunks that are no plain files, that unpack to more than they claim, or that are cut off."""
    shape = array.shards or array.chunks
    unpacked = size_in_bytes(shape, np.dtype(array.dtype))
    codecs = [] if array.shards else [c for f in (*array.filters, *array.compressors) if (c := _codec(f))]
    if len(codecs) > 1:
        raise ValueError("its chunks are compressed twice")
    for chunk in product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(window, shape, strict=True))):
        file = f"{key}/{array.metadata.encode_chunk_key(chunk)}".lstrip("/")
        size, what = _size(path, file), f"chunk {file.rpartition('/')[2]}"
        if size is None:
            continue
        check_packed(size, unpacked, what)
        if codecs:
            head = _head(path, file, _HEADER if codecs[0] not in WHOLE else None)
            check_unpacked(codecs[0], head, unpacked, what)
        # Blosc would read whatever lies behind a cut-off chunk in memory
        if codecs == ["blosc"] and (len(head) < 16 or int.from_bytes(head[12:16], "little") != size):
            raise ValueError(f"{what} is cut off")


def _size(path: Place, file: str) -> int | None:
    """Bytes of a file of a zarr; None if there is none."""
    if isinstance(path, str):
        return remote.size_of(path, file)
    if not (path / file).exists():
        return None
    require_file(path / file)
    return (path / file).stat().st_size


def _head(path: Place, file: str, count: int | None) -> bytes:
    """The first bytes of a file of a zarr, or all of them."""
    if isinstance(path, str):
        return remote.head_of(path, file, count)
    with (path / file).open("rb") as opened:
        return opened.read(count)


def _codec(codec: Any) -> str:
    """The name of what unpacks, of zarr's or numcodecs' own; empty for what keeps the size."""
    name = str(getattr(codec, "codec_id", None) or type(codec).__name__).lower()
    return next((known for known in CODECS if name.removeprefix("numcodecs.").startswith(known)), "")


def _node(path: Place, key: str | None) -> zarr.Group | zarr.Array[Any] | None:
    try:
        return zarr.open(str(path), mode="r", path=key or "")
    except NodeNotFoundError:
        return None


def _choices(group: zarr.Group) -> list[str]:
    """Where there are arrays and images in a group; an image counts once, not by its levels."""
    found: list[str] = []
    for key, node in sorted(group.members()):
        if isinstance(node, zarr.Array) or _multiscales(node):
            found.append(key)
        else:
            found += [f"{key}/{inner}" for inner in _choices(node)]
    return found


def _finest(group: zarr.Group) -> list[str]:
    """The first level of each image that an OME-Zarr group states; most state one."""
    levels = [image["datasets"][0]["path"] for image in _multiscales(group) if image.get("datasets")]
    return list(dict.fromkeys(levels))


def _multiscales(group: Any) -> list[dict[str, Any]]:
    """The multiscale images of an OME-Zarr group, version 0.4 or 0.5; empty if there is none."""
    attributes: Any = group.attrs.asdict()
    return [dict(image) for image in attributes.get("ome", attributes).get("multiscales") or ()]


def _level(path: Place, key: str | None) -> str | None:
    """The name of the array that a key means: a number may also be that of an image's level, 0 the finest."""
    folder, _, last = (key or "").rpartition("/")
    if not last.isdecimal() or _node(path, key) is not None:
        return key
    group = _node(path, folder)
    images = [] if group is None else _multiscales(group)
    levels = [one["path"] for image in images for one in image.get("datasets", ())]
    return f"{folder}/{levels[int(last)]}".lstrip("/") if int(last) < len(levels) else key


def _metadata(
    path: Place, key: str | None, array: Any
) -> tuple[str | None, dict[str, float], tuple[str, ...]]:
    """Axes, voxel size and names of channels from a group around the array, or else from its attributes."""
    parts = (key or "").split("/")
    for n in range(len(parts) - 1, -1, -1) if key else ():
        group, inner = _node(path, "/".join(parts[:n])), "/".join(parts[n:])
        images = _multiscales(group) if isinstance(group, zarr.Group) else []
        for image in images:
            for dataset in (one for one in image.get("datasets", ()) if one["path"] == inner):
                if "axes" in image:
                    return *_ome_metadata(image, dataset), _channel_names(group)
                if array.ndim == len(_OLD_AXES):
                    return _OLD_AXES, {}, _channel_names(group)
    attributes: Mapping[str, Any] = array.attrs.asdict()
    names = attributes.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(map(str, names))
    axes = axes_in(attributes) or (letters if len(letters) == array.ndim else None)
    return axes, voxel_size_in(attributes), ()


def _channel_names(group: Any) -> tuple[str, ...]:
    """As OME-Zarr's settings for display have them; none if any has no name."""
    attributes = group.attrs.asdict()
    channels = (attributes.get("ome", attributes).get("omero") or {}).get("channels") or []
    names = [str(one["label"]) for one in channels if one.get("label") is not None]
    return tuple(names) if len(names) == len(channels) else ()


def _ome_metadata(image: Mapping[str, Any], dataset: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    axes = [a if isinstance(a, dict) else {"name": a} for a in image["axes"]]
    scale = np.ones(len(axes))
    for place in (image, dataset):
        for step in place.get("coordinateTransformations", ()):
            scale = scale * np.asarray(step.get("scale", 1.0), float)
    units = [NANOMETRES.get(str(a.get("unit")).lower()) for a in axes]
    names = "".join(a["name"] for a in axes)
    return names, {a: s * u for a, s, u in zip(names, scale.tolist(), units, strict=True) if u}
