"""How networks in volumes follow from the size of voxels."""

from collections.abc import Sequence

_ALIKE = 2  # lengths of a voxel's sides that differ by a smaller factor are taken for the same


def about_cubes(voxel_size: Sequence[float]) -> bool:
    """Whether no side of a voxel is twice as long as another, or longer.

    >>> about_cubes((235, 150, 150)), about_cubes((50, 4.6, 4.6))
    (True, False)
    """
    return max(voxel_size) < _ALIKE * min(voxel_size)


def strides_for(voxel_size: Sequence[float], depth: int) -> tuple[tuple[int, ...], ...]:
    """Poolings that bring voxels nearer to cubes: only axes along which they are short are pooled.

    As in nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z): an axis is pooled if a pixel of that
    level is less than twice as long along it as along its shortest side.

    Args:
        voxel_size: of the network's input, in any unit.
        depth: number of poolings.

    >>> strides_for((50, 10, 10), 3)
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    sizes, out = list(voxel_size), []
    for _ in range(depth):
        stride = tuple(2 if about_cubes((size, min(sizes))) else 1 for size in sizes)
        sizes = [size * n for size, n in zip(sizes, stride, strict=True)]
        out.append(stride)
    return tuple(out)
