"""The shape of voxels, and what follows from it where images are volumes."""

import math
from collections.abc import Iterable, Sequence

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.strides import about_cubes, strides_for

NETWORK_VOXELS, POOL_VOXELS = 64**3, 96**3  # of a patch, unless it is set
_DEPTH = 8  # poolings of the deepest network


def common_shape(sizes: Iterable[tuple[float, ...] | None], ndim: int) -> tuple[float, ...] | None:
    """The voxel size by which networks and filters are made for several volumes; None for cubes.

    Voxels whose size is not known are taken for cubes.

    Raises:
        InputError: they differ so much that networks for them would differ.
    """
    different = list(dict.fromkeys(sizes))
    if ndim == 2:
        return None
    if len({strides_for(size or (1.0,) * ndim, _DEPTH) for size in different}) > 1:
        raise InputError(
            f"volumes with voxels of different shapes came, {', '.join(map(in_words, different))}; state "
            "their voxel_size, or use volumes whose voxels are alike"
        )
    return different[0]


def typical_patch(shape: Sequence[float] | None, step: Sequence[int], voxels: int) -> tuple[int, ...]:
    """A patch of about so many voxels that is about as long along each axis.

    Args:
        shape: of a voxel, in any unit; None for cubes.
        step: of which it is a multiple, per axis.

    >>> typical_patch((2, 1, 1), (4, 8, 8), 64**3)
    (40, 80, 80)
    """
    sizes = shape or (1.0,) * len(step)
    side = (voxels * math.prod(sizes)) ** (1 / len(step))
    return tuple(max(1, round(side / size / n)) * n for size, n in zip(sizes, step, strict=True))


def planes_of(wanted: str | None, shape: Sequence[float] | None) -> str:
    """The axes across which an enhancer in 2D sees planes: as set, or all where voxels are about cubes."""
    return wanted or ("zyx" if shape is None or about_cubes(shape) else "z")


def in_words(size: Sequence[float] | None) -> str:
    """For a sentence, such as "of 284 x 127 x 127 nm, not cubes"."""
    if size is None:
        return "of a size that is not known, taken for cubes"
    kind = "about cubes" if about_cubes(size) else "not cubes"
    return f"of {' x '.join(f'{n:.3g}' for n in size)} nm, {kind}"


def way_in_words(
    shape: Sequence[float] | None,
    features: FeatureSpec,
    model: ModelSpec,
    planes: str = "z",
    stretch: Sequence[float] = (),
) -> str:
    """How volumes are worked on, and why: told once before work.

    Args:
        shape: of the voxels; None for cubes.
        model: of the enhancer.
        planes, stretch: see `Enhancer`.
    """
    filters = "plane by plane" if features.halo[0] == 0 else "in 3D"
    if model.ndim == 3:
        poolings = ", ".join("x".join(map(str, stride)) for stride in model.strides)
        network = f"an enhancer in 3D, poolings {poolings}"
    else:
        network = f"an enhancer in 2D on planes across {' and '.join(planes)}"
    resized = [f"{a} by {by:.2g}" for a, by in zip("zyx", stretch, strict=False) if by != 1]
    told = f"; maps are stretched along {', '.join(resized)}, to the enhancer's voxels" if resized else ""
    return f"voxels {in_words(shape)}: filters {filters}, {network}{told}"
