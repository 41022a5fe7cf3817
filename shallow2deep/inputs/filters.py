"""The filters that settings ask for, checked."""

from dataclasses import replace

from shallow2deep.features import FILTERS, FeatureSpec
from shallow2deep.features.fastfilters_bank import load_fastfilters
from shallow2deep.settings import FeatureSettings


def check_engine(engine: str) -> None:
    """Whether the filters can be computed as asked for.

    Raises:
        InputError: a package is not installed.
    """
    if engine == "fastfilters":
        load_fastfilters()


def feature_spec(settings: FeatureSettings, ndim: int) -> FeatureSpec:
    """The settings' filter bank."""
    filters = FILTERS if settings.filters is None else settings.filters
    spec = FeatureSpec.ilastik(settings.scales, ndim, filters)
    return replace(spec, offset=settings.offset, scale=settings.scale)
