"""Sizes of objects in pixels and in units."""

import math
from collections.abc import Sequence

from shallow2deep.errors import InputError
from shallow2deep.settings import SIZE


def in_pixels(size: float | str, ndim: int, voxel_size: Sequence[float] | None) -> float:
    """A size of `ObjectsSettings` as a number of pixels (voxels).

    Args:
        voxel_size: nm along each axis.

    Raises:
        InputError: an area is asked for in a volume, or the reverse, or the voxel size is not known.

    >>> in_pixels(20, 2, None), in_pixels("2 um2", 2, (500.0, 400.0))
    (20.0, 10.0)
    """
    match = SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None or match[2] == "px":
        return float(match[1] if match else size)
    unit = f"um{ndim} or nm{ndim}"
    if int(match[2][-1]) != ndim:
        raise InputError(f"the size {size} came for images with {ndim} axes; give it in pixels, {unit}")
    if voxel_size is None:
        raise InputError(f"the size {size} came, but the voxel size is not known; state it, or give pixels")
    voxel = math.prod(voxel_size) / (1e3**ndim if match[2].startswith("um") else 1.0)
    return float(match[1]) / voxel
