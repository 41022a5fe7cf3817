"""The filters that settings ask for, checked."""

from dataclasses import replace

from shallow2deep.features import FILTERS, FeatureSpec
from shallow2deep.features.fastfilters_bank import load_fastfilters
from shallow2deep.networks.strides import about_cubes
from shallow2deep.settings import FeatureSettings


def check_engine(engine: str) -> None:
    """Whether the filters can be computed as asked for.

    Raises:
        InputError: a package is not installed.
    """
    if engine == "fastfilters":
        load_fastfilters()


def feature_spec(settings: FeatureSettings, ndim: int, shape: tuple[float, ...] | None = None) -> FeatureSpec:
    """The settings' filter bank.

    Args:
        shape: of the voxels; None for cubes.
    """
    filters = FILTERS if settings.filters is None else settings.filters
    flat = settings.scales if ndim == 3 and in_planes(settings.ndim, shape) else ()
    spec = FeatureSpec.ilastik(settings.scales, ndim, filters, in_2d=flat)
    return replace(spec, offset=settings.offset, scale=settings.scale)


def in_planes(wanted: int | None, shape: tuple[float, ...] | None) -> bool:
    """Whether filters in volumes work plane by plane: as set, or where voxels are not about cubes.

    Filters reach as many pixels along z as along y and x, so along long sides of voxels they would mix what
    lies far apart.
    """
    return wanted == 2 if wanted is not None else shape is not None and not about_cubes(shape)


def in_volumes(spec: FeatureSpec, wanted: int | None, shape: tuple[float, ...] | None) -> FeatureSpec:
    """The same filters, of planes, for volumes."""
    flat = in_planes(wanted, shape)
    return replace(spec, ndim=3, filters=tuple(replace(one, in_2d=flat) for one in spec.filters))
