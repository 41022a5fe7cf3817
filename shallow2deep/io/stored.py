"""What every file format gives: an array in the file's own axis order, read window by window."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import DamagedFileError, InputError, TooLittleMemoryError

NANOMETRES = {
    **dict.fromkeys(("nanometer", "nanometre", "nm"), 1.0),
    **dict.fromkeys(("micrometer", "micrometre", "micron", "microns", "um", "µm", "μm", "\\u00b5m"), 1e3),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), 1e6),
    **dict.fromkeys(("angstrom", "å"), 0.1),
}


@dataclass(frozen=True)
class Stored:
    """An array in a file.

    Attributes:
        read: gives a window over all axes, as a new array.
        axes: the letters that the file states, in its order; None if it states none.
        voxel_size: nm by axis letter, as far as the file states it.
        unit_bytes: what the format must decode at least to read anything: a chunk, a page, an image.
        indices: of a picture whose pixels are numbers of colours, gives a window `(y, x)` of these numbers,
            uint8; `read` gives the colours.
        channels: their names, as far as the file states them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Window], np.ndarray]
    axes: str | None = None
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    unit_bytes: int = 0
    indices: Callable[[Window], np.ndarray] | None = None
    channels: tuple[str, ...] = ()


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns what a library raises on a damaged file into one sentence."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise TooLittleMemoryError(f"{path}: too little memory to read it; take a smaller part") from None
    except Exception as error:  # on damaged bytes the libraries raise anything, even SystemError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if "imagecodecs" in reason:
            raise InputError(
                f"{path}: its compression needs a further package; pip install imagecodecs, or save the file "
                "uncompressed"
            ) from None
        raise DamagedFileError(
            f"{path}: cannot be read ({reason}); give a whole file of the format that its ending names"
        ) from None


def require_file(path: Path) -> None:
    """Refuses what would wait for ever, such as a pipe, or never end, such as a device.

    Raises:
        InputError: naming it.
    """
    if not path.is_file():
        raise InputError(f"{path} is no regular file but a folder, a pipe or a device; give a file")


def check_packed(stored: int, unpacked: int, what: str) -> None:
    """Refuses a piece that takes more room in the file than what it claims to unpack to.

    What does not get smaller by compression grows by little; so each codec's ratio bounds what is unpacked.

    Raises:
        ValueError: for `reading` to put into words.
    """
    if stored > 2 * unpacked + 4096:
        raise ValueError(f"{what} of {unpacked} bytes takes {stored} in the file")


def no_such_key(path: Path | str, key: str | None, keys: list[str]) -> InputError:
    """The error for an array that is not there or not chosen."""
    came = f'no array "{key}"' if key else f"{len(keys)} arrays and no choice"
    known = ", ".join(keys[:20]) + (", …" if len(keys) > 20 else "") or "none"
    return InputError(
        f"{path}: {came}; name one of those present as {Path(path).name}:KEY, KEY out of: {known}"
    )


def axes_in(attributes: Mapping[str, Any]) -> str | None:
    """The axes in the attribute `axes`, or in vigra's and ilastik's `axistags`; None if there are none."""
    axes = attributes.get("axes")
    if axes is not None:
        return axes.decode() if isinstance(axes, bytes) else "".join(map(str, axes))
    if "axistags" in attributes:
        return "".join(tag["key"] for tag in json.loads(attributes["axistags"])["axes"])
    return None


def voxel_size_in(attributes: Mapping[str, Any]) -> dict[str, float]:
    """The voxel size in the attributes that are in use, all in the order z, y, x; empty if there are none."""
    for name, factor in (("voxel_size_nm", 1.0), ("element_size_um", 1e3), ("resolution", 1.0)):
        if name in attributes:
            values = np.ravel(np.asarray(attributes[name], float)) * factor
            return dict(zip("zyx"[-len(values) :], values.tolist(), strict=False))
    return {}


def size_in_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of an array, without the overflow that numpy's integers would have."""
    return math.prod(map(int, shape)) * dtype.itemsize
