"""PNG, JPEG and BMP images: whole, or refused where the library would cut or change their values."""

import logging
from functools import cache, partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.stored import Stored, reading, size_in_bytes

log = logging.getLogger(__name__)

_SCALED = {"L;2": 85, "L;4": 17}  # grey of few bits is spread over 0..255


def open_image(path: Path) -> Stored:
    """A PNG, JPEG or BMP image, of which only the header is read.

    Raises:
        InputError: colours of 16 bits, or several images in one file; DamagedFileError if it cannot be read.
    """
    with reading(path):
        properties = iio.improps(path, index=0, plugin="pillow")
        with Image.open(path) as image:
            mode, packing = image.mode, _packing(image)
            several = image.format == "PNG" and getattr(image, "n_frames", 1) > 1
    if several:
        raise InputError(f"{path}: holds several images; save each as a file of its own, or all as TIFF")
    if packing.endswith(";16B") and not mode.startswith("I"):  # which the library cuts to 8
        came = "grey and alpha" if packing.startswith("LA") else "colours"
        raise InputError(
            f"{path}: a PNG with {came} of 16 bits each came, but grey of 16 bits or colours of 8 were "
            "expected; save it as TIFF, or as grey"
        )
    shape, dtype = properties.shape, np.dtype(properties.dtype)
    if mode == "LA":
        shape = shape[:2]
    indices = mode == "P" or packing in _SCALED
    return Stored(
        shape,
        dtype,
        partial(_read_image, path),
        "yxc" if len(shape) == 3 else "yx",
        {},
        size_in_bytes(shape, dtype),
        partial(_read_indices, path) if indices else None,
    )


def _packing(image: Any) -> str:
    """How the file stores pixels, in the library's words, such as "RGB;16B"; empty if it does not say."""
    arguments = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) else arguments
    return first if isinstance(first, str) else ""


def _read_image(path: Path, window: Window) -> np.ndarray:
    with reading(path):
        values: np.ndarray = iio.imread(path, index=0, plugin="pillow")
        if values.ndim == 3 and values.shape[2] == 2:
            if np.ptp(values[..., 1]):
                _say_alpha(path)
            values = values[..., 0]
        return values[window]


@cache
def _say_alpha(path: Path) -> None:
    log.warning("%s: its transparency (alpha) varies, and is left out", path)


def _read_indices(path: Path, window: Window) -> np.ndarray:
    with reading(path), Image.open(path) as image:
        step = 1 if image.mode == "P" else _SCALED[_packing(image)]
        return (np.asarray(image, np.uint8) // np.uint8(step))[window]
