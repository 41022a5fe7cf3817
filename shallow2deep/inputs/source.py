"""The labelled images of a source, split into training and validation."""

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests.looks import Look
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.facts import LabelFacts, RawFacts
from shallow2deep.inputs.filters import check_engine, feature_spec
from shallow2deep.inputs.images import images_of, in_channels, open_raw_volumes, select, tell_of_colours
from shallow2deep.inputs.labels import checked_labels
from shallow2deep.inputs.names import in_order, plain_name
from shallow2deep.inputs.shapes import NETWORK_VOXELS, POOL_VOXELS, common_shape, typical_patch
from shallow2deep.io.cache import ReadCache
from shallow2deep.io.known import Known
from shallow2deep.io.resampled import at_pixel_size, labels_at_pixel_size
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import IGNORED, Output
from shallow2deep.settings import EnhancerTrainConfig, SourceData, TrainingSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """A raw image with its dense labels, both lazy.

    Attributes:
        raw_facts, label_facts: of all that is in `raw` and `labels`.
        source: number of the source that it belongs to.
        ignored: the value of labels whose pixels do not count.
    """

    raw: Volume
    labels: Volume
    instances: bool
    raw_facts: RawFacts
    label_facts: LabelFacts
    source: int = 0
    ignored: int | None = None

    @classmethod
    def of(
        cls,
        raw: Volume,
        labels: Volume,
        instances: bool,
        known: Known,
        source: int = 0,
        ignored: int | None = None,
    ) -> "Labelled":
        """Raises InputError for raw with a value that is NaN or infinite."""
        facts = RawFacts.of(raw, known), LabelFacts.of(labels, known)
        return cls(raw, labels, instances, *facts, source, ignored)

    def crop(self, window: Window, known: Known) -> "Labelled":
        """A window of both."""
        raw, labels = self.raw.crop(window), self.labels.crop(window)
        return Labelled.of(raw, labels, self.instances, known, self.source, self.ignored)

    def classes(self, window: Window | None = None) -> np.ndarray:
        """The number of each pixel's class, or `IGNORED`, uint8 `(*spatial)`."""
        labels = self.labels.read(window)
        classes = (labels > 0).astype(np.uint8) if self.instances else labels.astype(np.uint8)
        if self.ignored is not None:
            classes[labels == self.ignored] = IGNORED
        return classes

    @property
    def moments(self) -> Moments:
        """Of raw."""
        return self.raw_facts.moments

    @property
    def fingerprint(self) -> str:
        return f"{self.raw_facts.fingerprint} {self.label_facts.fingerprint} {self.instances} {self.ignored}"


@dataclass(frozen=True)
class Source:
    """What the source stages read.

    Attributes:
        voxel_size: that of all images; None if they differ, or if it is not known.
        shape: of voxels, by which networks in 3D are made; None for cubes.
    """

    training: list[Labelled]
    validation: list[Labelled]
    classes: tuple[str, ...]
    spec: FeatureSpec
    voxel_size: tuple[float, ...] | None
    shape: tuple[float, ...] | None = None

    def images(self, part: str, number: int) -> list[Labelled]:
        """The "training" or "validation" images of a source."""
        images: list[Labelled] = getattr(self, part)
        return [image for image in images if image.source == number]

    def seen(
        self,
        image: Labelled,
        window: Window,
        look: Look,
        rng: np.random.Generator,
        exposure: float = 0.0,
    ) -> np.ndarray:
        """A window of an image's raw in a look; see `Look.of`."""
        low, high = self._spans[image.source]
        return look.of(image.raw.read(window), (low, high), image.raw_facts.deviation, rng, exposure)

    @cached_property
    def _spans(self) -> list[tuple[float, float]]:
        """Of each source, between which grey values nearly all of its pixels are."""
        found = []
        for number in range(self.count):
            images = self.images("training", number)
            low, _, high = Intensities.together([i.raw_facts.intensities for i in images]).channels[0]
            found.append((low, high))
        return found

    @property
    def count(self) -> int:
        """Of sources."""
        return max(image.source for image in self.training) + 1

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of all images with their labels."""
        parts = (("training", self.training), ("validation", self.validation))
        return {f"{part} {n}": image.fingerprint for part, images in parts for n, image in enumerate(images)}


def open_sources(config: EnhancerTrainConfig, known: Known | None = None) -> Source:
    """Opens and checks all source data of a configuration.

    Args:
        known: what was found out about the files before.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    check_engine(config.engine)
    training: list[Labelled] = []
    validation: list[Labelled] = []
    known = known or Known()
    for number, data in enumerate(config.sources):
        images = open_source(data, config.ndim, len(config.classes), known, number)
        first, last = split(images, config.validation, config.probabilities.patch, known)
        training += first
        validation += last
    sizes = {image.raw.voxel_size for image in training}
    shape = common_shape((image.raw.voxel_size for image in training), config.ndim)
    return Source(
        training,
        validation,
        config.classes,
        feature_spec(config.features, config.ndim, shape),
        sizes.pop() if len(sizes) == 1 else None,
        shape,
    )


def fitted(config: EnhancerTrainConfig) -> EnhancerTrainConfig:
    """The same settings with patches no larger than the images allow, but for those that were set.

    Raises:
        InputError: raw images that cannot be used.
    """
    volumes, limits = [], []
    for data in config.sources:
        images = [i for v in open_raw_volumes(data) for i in images_of(v, config.ndim, data.slices)]
        if data.pixel_size is not None:
            images = [at_pixel_size(image, data.pixel_size, image.voxel_size) for image in images]
        limits += [image.spatial_shape for image in images]
        if len(images) == 1:
            limits.append(_halved(images[0].spatial_shape))
        volumes += images
    shape = common_shape((volume.voxel_size for volume in volumes), config.ndim)
    wanted = _wanted_patches(config, shape)
    if "patch" in config.probabilities.model_fields_set:
        limits.append(config.probabilities.patch)
    networks = [net for net in (config.enhancer, config.source_net) if net is not None]
    step = np.max([_step(net, config.ndim, shape) for net in networks], 0)
    *depth, height, width = np.min(limits, 0)
    most = [*depth, min(height, width), min(height, width)]  # square in the plane, to be turned in it
    most = [max(n // s * s, s) for n, s in zip(most, step, strict=True)]
    changed = {}
    for section, patch in wanted.items():
        fitting = tuple(int(min(n, side)) for n, side in zip(patch, most, strict=True))
        settings = getattr(config, section)
        if fitting != settings.patch:
            changed[section] = settings.model_copy(update={"patch": fitting})
    smaller = [section for section in changed if changed[section].patch != wanted[section]]
    if smaller:
        size = " x ".join(map(str, changed[smaller[0]].patch))
        log.info("%s: patches of %s pixels, as the smallest image allows", ", ".join(smaller), size)
    return config.model_copy(update=changed)


def enhancer_of(config: EnhancerTrainConfig) -> ModelSpec:
    """The enhancer that settings would make.

    Raises:
        InputError: raw images that cannot be used.
    """
    volumes = [volume for data in config.sources for volume in open_raw_volumes(data)]
    sizes = {volume.voxel_size for volume in volumes}
    shape = common_shape((volume.voxel_size for volume in volumes), config.ndim)
    outputs = (Output(None),) * (2 if config.enhancer.boundary else 1)
    size = sizes.pop() if len(sizes) == 1 else None
    size = size[-config.ndim :] if size else None
    return ModelSpec.of("enhancer", outputs, config.enhancer.network, config.ndim, shape, voxel_size=size)


def _halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of the parts that a single image is cut into."""
    axis = int(np.argmax(shape))
    return (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :])


def _wanted_patches(
    config: EnhancerTrainConfig, shape: tuple[float, ...] | None
) -> dict[str, tuple[int, ...]]:
    """Those of the sections that have none set: the default ones, or in volumes as the voxels' shape is."""
    sections = ("forests", "probabilities", "enhancer", "source_net")
    found = {name: getattr(config, name) for name in sections}
    unset = {n: one for n, one in found.items() if one is not None and "patch" not in one.model_fields_set}
    if config.ndim == 2:
        return {name: one.patch for name, one in unset.items() if name != "forests"}
    step = _step(config.enhancer, config.ndim, shape)
    sizes = {"forests": NETWORK_VOXELS, "probabilities": POOL_VOXELS}
    return {name: typical_patch(shape, step, sizes.get(name, NETWORK_VOXELS)) for name in unset}


def _step(settings: TrainingSettings, ndim: int, shape: tuple[float, ...] | None) -> tuple[int, ...]:
    return ModelSpec.of("enhancer", (), settings.network, ndim, shape).step


def open_source(
    data: SourceData, ndim: int, n_classes: int, known: Known | None = None, number: int = 0
) -> list[Labelled]:
    """The labelled images of one source, which has a number.

    Raises:
        InputError: anything that cannot be used, such as shapes that differ or values that are no class.
    """
    known, cache = known or Known(), ReadCache()
    raw_volumes = open_raw_volumes(data)
    volumes = select(open_volumes(data.labels, data.label_axes, data.voxel_size), data.manifest)
    names, keys = [plain_name(volume) for volume in volumes], [plain_name(raw) for raw in raw_volumes]
    ordered = in_order(volumes, names, keys, "labels")
    greys = [in_channels(raw, data.channels) for raw in raw_volumes]
    if data.channels == "grey":
        tell_of_colours(raw_volumes, "enhancers know grey only; channels: [0] takes the first")
    raws = [cache.keep(image) for raw in greys for image in images_of(raw, ndim, data.slices)]
    numbers = [checked_labels(volume, data.ignore_label) for volume in ordered]
    labels = [cache.keep(image) for volume in numbers for image in images_of(volume, ndim, data.slices)]
    if len(raws) != len(labels):
        raise InputError(f"{len(raws)} raw images but {len(labels)} label images came; give one for each")
    instances = data.label_values == "instances"
    for raw, truth in zip(raws, labels, strict=True):
        _check_fit(raw, truth)
    if data.pixel_size is not None:
        labels = [
            labels_at_pixel_size(truth, data.pixel_size, raw.voxel_size)
            for raw, truth in zip(raws, labels, strict=True)
        ]
        raws = [at_pixel_size(raw, data.pixel_size, raw.voxel_size) for raw in raws]
    pairs = [
        Labelled.of(raw, truth, instances, known, number, data.ignore_label)
        for raw, truth in zip(raws, labels, strict=True)
    ]
    present = set[int]().union(*(_checked_values(pair, n_classes) for pair in pairs))
    if len(present) < 2:
        only = f"one class only, number {min(present)}" if present else "no pixel that counts"
        raise InputError(
            f"the labels {', '.join(data.labels)} have {only}; give images with objects and background"
        )
    return pairs


def _check_fit(raw: Volume, labels: Volume) -> None:
    if raw.spatial_shape != labels.spatial_shape:
        raise InputError(
            f"{raw.name} has shape {raw.spatial_shape} but its labels {labels.name} {labels.spatial_shape}; "
            "give labels of the raw's shape"
        )
    if labels.dtype.kind not in "uib":
        raise InputError(f"{labels.name}: labels are whole numbers, not {labels.dtype}; convert them")


def _checked_values(pair: Labelled, n_classes: int) -> set[int]:
    """The numbers of the classes that an image's labels have, once they were found to be usable."""
    values = [int(value) for value in pair.label_facts.counts if value != pair.ignored]
    high = pair.label_facts.high
    if high == pair.ignored:
        high = max(values, default=0)
    if not pair.instances and high >= n_classes:
        raise InputError(
            f"{pair.labels.name}: values {min(values)} to {high} came, but 0 to {n_classes - 1} were "
            "expected; set classes, label_values to instances, or ignore_label to a value that does not count"
        )
    return {min(value, 1) for value in values} if pair.instances else set(values)


class _Splittable(Protocol):
    @property
    def raw(self) -> Volume: ...

    def crop(self, window: Window, known: Known) -> Any: ...


Split = TypeVar("Split", bound=_Splittable)


def split(
    images: list[Split], share: float, patch: tuple[int, ...], known: Known
) -> tuple[list[Split], list[Split]]:
    """The last `share` of the images for validation; of a single image, the end of its longest axis.

    If that has no room for two patches, both parts are smaller than one and are mirrored.
    """
    small = [i.raw for i in images if any(n < p for n, p in zip(i.raw.spatial_shape, patch, strict=True))]
    if small:
        log.info(
            "%s%s smaller than the patch %s: mirrored where there is no more of it",
            f"{small[0].name} has shape {small[0].spatial_shape}",
            f", and {len(small) - 1} more are" if len(small) > 1 else "",
            patch,
        )
    if len(images) > 1:
        cut = min(len(images) - 1, max(1, math.floor(len(images) * (1 - share))))
        return images[:cut], images[cut:]
    shape = images[0].raw.spatial_shape
    axis = int(np.argmax(shape))
    wanted = math.floor(shape[axis] * (1 - share))
    cut = min(wanted, shape[axis] - patch[axis])
    if cut < patch[axis]:
        cut = min(max(wanted, 1), shape[axis] - 1)
        log.info(
            "%s is the only image of its source, without room for two patches: %d of %d pixels along %s are "
            "for validation, and mirrored",
            images[0].raw.name, shape[axis] - cut, shape[axis], images[0].raw.spatial_axes[axis],
        )  # fmt: skip
    parts = (slice(0, cut), slice(cut, shape[axis]))
    whole = tuple(slice(0, n) for n in shape)
    first, last = ([images[0].crop((*whole[:axis], part, *whole[axis + 1 :]), known)] for part in parts)
    return first, last
