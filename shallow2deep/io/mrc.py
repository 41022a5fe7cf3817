"""MRC files of electron tomography, by mrcfile."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.stored import Stored, reading

ENDINGS = (".mrc", ".rec", ".st")
_ANGSTROM = 0.1  # nm


def open_mrc(path: Path) -> Stored:
    """An image, a volume or a stack of images; nothing but the header is read.

    Raises:
        InputError: mrcfile is not installed; DamagedFileError if it cannot be read.
    """
    with reading(path), _opened(path) as mrc:
        array, size = mrc.data, mrc.voxel_size
        if array is None:
            raise ValueError("it has no data")
        axes = {2: "yx", 3: "zyx", 4: "tzyx"}.get(array.ndim)
        sizes = {a: float(size[a]) * _ANGSTROM for a in "xyz"}
        return Stored(array.shape, array.dtype, partial(_read_mrc, path), axes, sizes)


def _opened(path: Path) -> Any:
    try:
        library = import_module("mrcfile")
    except ImportError:
        raise InputError(
            f"{path}: MRC files are read by a further package; pip install 'shallow2deep[vendors]', or "
            "convert it to TIFF (mrc2tif of IMOD, or Fiji)"
        ) from None
    return library.mmap(path, mode="r")


def _read_mrc(path: Path, window: Window) -> np.ndarray:
    with reading(path), _opened(path) as mrc:
        return np.array(mrc.data[window])
