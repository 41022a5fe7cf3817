"""Files of microscopes (CZI, ND2, LIF, DV …), read by bioio and its plugins, window by window."""

import re
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.hdf5 import Stamp, stamp_of
from shallow2deep.io.stored import Stored, reading, size_in_bytes

# what microscopes write, and what Bio-Formats reads for Fiji
VENDORS = (".czi", ".nd2", ".lif", ".dv", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".svs", ".ndpi")
_PLUGINS = {
    ".czi": "bioio-czi, which is under the GPL",
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
}
_BY_JAVA = "bioio-bioformats, which needs Java"
_IN_EXTRA = (".nd2", ".lif", ".dv")
_EXTRA = "'shallow2deep[vendors]'"
_ORDER = "TCZYX"
_FEW = 12  # scenes that are named
_INVENTED = re.compile(r"Channel:\d+(:\d+)?")  # bioio's names for channels that have none


def open_scene(path: Path, key: str | None) -> Stored:
    """One scene of a file, such as a position; nothing but its metadata is read.

    Args:
        key: its number, from 0, or its name; not needed if there is one only.

    Raises:
        InputError: bioio or its plugin is not installed, several scenes and none chosen, or axes that are
            not known; DamagedFileError if it cannot be read.
    """
    with reading(path):
        image = _image(path)
        scenes = tuple(map(str, image.scenes))
        number = _number(path, key, scenes)
        image.set_scene(number)
        _check_axes(image, path)
        array = _array(image)
        kept = [n for n, size in enumerate(array.shape) if size > 1 or n in (3, 4)]
        axes = "".join("tczyxc"[n] for n in kept)
        if axes.count("c") > 1:
            raise InputError(
                f"{path}: channels in colour each came; save the one to use as a file of its own"
            )
        dtype = np.dtype(array.dtype)
        sizes = zip("zyx", image.physical_pixel_sizes, strict=True)  # micrometres, as all plugins give them
        names = tuple(map(str, image.channel_names or ())) if array.ndim == len(_ORDER) else ()
        return Stored(
            tuple(array.shape[n] for n in kept),
            dtype,
            partial(_read_scene, path, stamp_of(path), number, tuple(kept)),
            axes,
            {a: float(size) * 1e3 for a, size in sizes if size},
            size_in_bytes(array.chunksize, dtype),
            channels=() if any(map(_INVENTED.fullmatch, names)) else names,
        )


def _image(path: Path) -> Any:
    """The file as bioio opens it."""
    suffix = path.suffix.lower()
    way_out = "or convert it to OME-TIFF with Fiji (Bio-Formats), or to OME-Zarr with bioformats2raw"
    plugin = _PLUGINS.get(suffix, _BY_JAVA)
    further = "" if suffix in _IN_EXTRA else f" and {plugin}"
    try:
        bioio, errors = import_module("bioio"), import_module("bioio_base.exceptions")
    except ImportError:
        raise InputError(
            f"{path}: files of microscopes ({suffix}) are read by further packages; pip install {_EXTRA}"
            f"{further}, {way_out}"
        ) from None
    try:
        return bioio.BioImage(path)
    except errors.UnsupportedFileFormatError:
        raise InputError(
            f"{path}: none of the installed plugins of bioio reads it; give a whole file, install the plugin "
            f"({plugin}), {way_out}"
        ) from None


def _number(path: Path, key: str | None, scenes: tuple[str, ...]) -> int:
    """Which scene is meant.

    Raises:
        InputError: it is not there, or none is chosen of several.
    """
    if key is None and len(scenes) == 1:
        return 0
    if key in scenes and scenes.count(key) == 1:
        return scenes.index(key)
    if key is not None and key.isdecimal() and int(key) < len(scenes):
        return int(key)
    came = f'no scene "{key}"' if key else f"{len(scenes)} scenes"
    known = ", ".join(f"{n}: {name}" for n, name in enumerate(scenes[:_FEW]))
    raise InputError(
        f"{path}: {came} came, but one was expected; choose by number or name, as {path.name}:0, out of "
        f"{known}{', …' if len(scenes) > _FEW else ''}"
    )


def _check_axes(image: Any, path: Path) -> None:
    """Refuses axes of which bioio would take the first entry, such as tiles that it does not join."""
    own = image.reader.dims
    sizes = dict(zip(own.order, own.shape, strict=True))
    joined = sizes["Y"] < image.dims.Y or sizes["X"] < image.dims.X
    unknown = [a for a, size in sizes.items() if size > 1 and a not in f"{_ORDER}S{'M' if joined else ''}"]
    if unknown:
        raise InputError(
            f"{path}: axes {own.order} of sizes {tuple(own.shape)} came, of which {', '.join(unknown)} "
            "cannot be read; save one time series, volume or image and give that"
        )


def _array(image: Any) -> Any:
    """All of a scene, lazy: `(t, c, z, y, x)`, in colour with these behind."""
    colour = "S" in image.reader.dims.order
    return image.get_image_dask_data(_ORDER + "S" * colour)


@lru_cache(maxsize=8)
def _opened(path: Path, stamp: Stamp, scene: int) -> Any:
    """The array of a scene; opening it again for each window would read all metadata again."""
    image = _image(path)
    image.set_scene(scene)
    return _array(image)


def _read_scene(path: Path, stamp: Stamp, scene: int, kept: tuple[int, ...], window: Window) -> np.ndarray:
    with reading(path):
        if stamp_of(path) != stamp:
            raise ValueError("it has changed since it was opened")
        array = _opened(path, stamp, scene)
        by_axis: dict[int, Any] = dict(zip(kept, window, strict=True))
        part = array[tuple(by_axis.get(n, 0) for n in range(array.ndim))]
        return np.asarray(part.compute(scheduler="synchronous"))
