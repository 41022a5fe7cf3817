"""The labelled source images of a run, split into training and validation."""

import math
from dataclasses import dataclass, replace

import numpy as np

from shallow2deep.settings import EnhancerTrainConfig, FeatureSettings
from shallow2deep.errors import InputError
from shallow2deep.features import FILTERS, FeatureSpec
from shallow2deep.features.fastfilters_bank import load_fastfilters
from shallow2deep.inputs.data import Labelled, open_source


@dataclass(frozen=True)
class Source:
    """What the source stages read."""

    training: list[Labelled]
    validation: list[Labelled]
    classes: tuple[str, ...]
    spec: FeatureSpec
    fingerprints: dict[str, str]
    voxel_size: tuple[float, ...] | None
    licences: tuple[str, ...]


def open_sources(config: EnhancerTrainConfig) -> Source:
    """Opens and checks all source data of a configuration.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    check_engine(config.engine)
    training: list[Labelled] = []
    validation: list[Labelled] = []
    for data in config.sources:
        images = open_source(data, config.ndim, len(config.classes))
        first, last = split(images, config.validation, config.probabilities.patch)
        training += first
        validation += last
    fingerprints = {
        f"{part} {n}": f"{image.raw.fingerprint()} {image.labels.fingerprint()} {image.instances}"
        for part, images in (("training", training), ("validation", validation))
        for n, image in enumerate(images)
    }
    sizes = {image.raw.voxel_size for image in training}
    return Source(
        training,
        validation,
        config.classes,
        feature_spec(config.features, config.ndim),
        fingerprints,
        sizes.pop() if len(sizes) == 1 else None,
        tuple(dict.fromkeys(data.licence for data in config.sources)),
    )


def split(
    images: list[Labelled], share: float, patch: tuple[int, ...]
) -> tuple[list[Labelled], list[Labelled]]:
    """The last `share` of the images for validation; of a single image, the end of its longest axis.

    Raises:
        InputError: an image, or a part of a single one, is smaller than a patch.
    """
    for image in images:
        if any(n < p for n, p in zip(image.raw.spatial_shape, patch, strict=True)):
            raise InputError(
                f"{image.raw.name} has shape {image.raw.spatial_shape}, smaller than the patch {patch}; "
                "set probabilities.patch and enhancer.patch to fit the smallest image"
            )
    if len(images) > 1:
        cut = min(len(images) - 1, max(1, math.floor(len(images) * (1 - share))))
        return images[:cut], images[cut:]
    shape = images[0].raw.spatial_shape
    axis = int(np.argmax(shape))
    cut = min(math.floor(shape[axis] * (1 - share)), shape[axis] - patch[axis])
    if cut < patch[axis]:
        raise InputError(
            f"{images[0].raw.name} is the only image of its source, and its shape {shape} cannot be cut "
            f"into parts of at least {patch} for training and validation; make probabilities.patch smaller"
        )
    parts = (slice(0, cut), slice(cut, shape[axis]))
    whole = tuple(slice(0, n) for n in shape)
    first, last = ([_crop(images[0], (*whole[:axis], part, *whole[axis + 1 :]))] for part in parts)
    return first, last


def _crop(image: Labelled, window: tuple[slice, ...]) -> Labelled:
    return replace(image, raw=image.raw.crop(window), labels=image.labels.crop(window))


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
