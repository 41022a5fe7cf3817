"""The lower resolutions of an OME-Zarr."""

from collections.abc import Sequence

_SMALLEST = {2: 512, 3: 128}  # pixels along y and x, at which there is no further level


def pyramid(
    shape: Sequence[int], voxel_size: Sequence[float] | None, z_apart: bool = False
) -> list[tuple[int, ...]]:
    """How many pixels of the image one of each further level is, along each axis.

    From level to level pixels are doubled along the axes where they are less than twice as large as along any
    other, so that they become cubes.

    Args:
        shape: `([z,] y, x)`.
        voxel_size: nm along each of these axes; pixels are taken for cubes if it is None.
        z_apart: if it is None, that planes are not put together.

    >>> pyramid((3000, 1100), None)
    [(2, 2), (4, 4), (8, 8)]
    >>> pyramid((40, 600, 600), (30, 10, 10))
    [(1, 2, 2), (2, 4, 4), (4, 8, 8)]
    """
    apart = float("inf") if z_apart else 1.0
    sizes = tuple(voxel_size) if voxel_size is not None else (apart, 1.0, 1.0)[-len(shape) :]
    factors, found = (1,) * len(shape), list[tuple[int, ...]]()
    while (
        max(-(-n // factor) for n, factor in zip(shape[-2:], factors[-2:], strict=True))
        > _SMALLEST[len(shape)]
    ):
        now = [size * factor for size, factor in zip(sizes, factors, strict=True)]
        factors = tuple(f * 2 if size < 2 * min(now) else f for f, size in zip(factors, now, strict=True))
        found.append(factors)
    return found
