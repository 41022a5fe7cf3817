"""The raw images and strokes of an adaptation, and the enhancer it uses."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest
from shallow2deep.inference.enhance import stretch_between
from shallow2deep.inference.forest_maps import learned_by
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.facts import LabelFacts, RawFacts
from shallow2deep.inputs.filters import check_engine, feature_spec, in_volumes
from shallow2deep.inputs.ilastik import class_order, learned_range, project_forest, project_images
from shallow2deep.inputs.images import Image, images_of, open_images, select
from shallow2deep.inputs.labels import checked_labels
from shallow2deep.inputs.maps import check_against_strokes, open_maps
from shallow2deep.inputs.models import OpenedEnhancer, given_enhancers, kept_classes, open_enhancer
from shallow2deep.inputs.names import in_order, plain_name
from shallow2deep.inputs.rescaled import in_range
from shallow2deep.inputs.shapes import (
    NETWORK_VOXELS,
    common_shape,
    planes_of,
    typical_patch,
    way_in_words,
)
from shallow2deep.inputs.strokes import Drawn, Strokes, open_strokes
from shallow2deep.io.ilp import Project, open_project
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import IGNORED
from shallow2deep.settings import AdaptConfig, FeatureSettings, TargetData

log = logging.getLogger(__name__)

_FEW = 5  # pixel sizes that are told
_FAR = 10.0  # factor between pixel sizes beyond which one of them must be wrong
_ALIKE = 1.3  # pixel sizes that differ by a smaller factor are taken for the same


@dataclass(frozen=True)
class Plane:
    """An image as networks see it, with all that belongs to it: 2D, one plane of a volume, or all of it.

    Attributes:
        number: its place among all planes of the target.
        image: the image that it is a part of.
        z: which part of that.
        raw: `([C,] *spatial)`, lazy.
        facts: of raw.
        labels: dense labels, if there are any.
        ignored: the value of labels whose pixels do not count.
        map: the foreground's probability map that is there already, in place of any forest's.
        label_facts, map_facts: of these.
    """

    number: int
    image: Image
    z: int
    raw: Volume
    facts: RawFacts
    drawn: Drawn
    labels: Volume | None = None
    label_facts: LabelFacts | None = None
    map: Volume | None = None
    map_facts: RawFacts | None = None
    ignored: int | None = None

    def true_classes(self, count: int) -> np.ndarray:
        """By the dense labels, uint8 `(y, x)`: 0 background, the number of a class, from 1, or `IGNORED`.

        Args:
            count: of foreground classes; of one, all labels are.
        """
        assert self.labels is not None, "asked of a target without labels"
        labels = self.labels.read()
        classes = np.where(labels > count, int(count == 1), labels).astype(np.uint8)
        return classes if self.ignored is None else np.where(labels == self.ignored, IGNORED, classes)

    @property
    def is_painted(self) -> bool:
        """Whether there are strokes on it, of whatever use."""
        return bool(self.drawn.strokes[self.number].counts)

    @property
    def strokes(self) -> np.ndarray:
        """Those to learn from, uint8 `(*spatial)`: 0 unlabelled, or the number of a class, from 1."""
        return self.drawn.shared_out[0][self.number]

    @property
    def held_out(self) -> np.ndarray:
        """Strokes that only judge results, likewise."""
        return self.drawn.shared_out[1][self.number]


@dataclass(frozen=True)
class Target:
    """What the target's stages read.

    Attributes:
        planes: of all images, in their order.
        enhancers: in the order of `given_enhancers`.
        forest: one that is there already, in place of one trained on the strokes.
        has_maps: whether maps are there already, in place of any forest's.
        shape: of voxels, by which networks in 3D are made and 2D ones applied in volumes; None for cubes.
    """

    images: list[Image]
    planes: tuple[Plane, ...]
    drawn: Drawn
    spec: FeatureSpec
    enhancers: tuple[OpenedEnhancer, ...]
    forest: Forest | None = None
    has_maps: bool = False
    shape: tuple[float, ...] | None = None

    @property
    def has_labels(self) -> bool:
        return self.planes[0].labels is not None

    @property
    def has_strokes(self) -> bool:
        """Whether there are any to learn from."""
        return any(plane.is_painted for plane in self.planes)

    def painted(self, classes: Sequence[str]) -> str:
        """What is painted of each class, as the program sees it, in words."""
        found = []
        for number, name in enumerate(classes, 1):
            counts = [one.counts[number] for one in self.drawn.strokes if number in one.counts]
            found.append(f"{name} {sum(counts)} pixels on {len(counts)} images")
        return "; ".join(found)

    @property
    def pixel_sizes(self) -> str:
        """Those of the images, as far as they are known, in words."""
        sizes = dict.fromkeys(image.voxel_size for image in self.images)
        told = [
            "not known" if size is None else f"{' x '.join(f'{s:.4g}' for s in size)} nm" for size in sizes
        ]
        return ", ".join(told[:_FEW]) + (", …" if len(told) > _FEW else "")

    @property
    def metadata(self) -> dict[str, Any]:
        """What the enhancers are called, and the terms of the data that taught them: they hold for all."""
        said = [one.spec.metadata for one in self.enhancers]
        names = [str(one["name"]) for one in said if one.get("name")]
        terms = dict.fromkeys(term for one in said for term in one.get("data_licences", []))
        return {"name": ", ".join(names), "data_licences": list(terms)}

    @property
    def voxel_size(self) -> tuple[float, ...] | None:
        """Of the first image, nm; None if it is not known."""
        return self.images[0].voxel_size

    @property
    def moments(self) -> Moments:
        """Of all raw together."""
        return Moments.of_sums(plane.facts.sums for plane in self.planes)

    @property
    def intensities(self) -> Intensities:
        """Of all raw together."""
        return Intensities.together([plane.facts.intensities for plane in self.planes])

    def by_image(self) -> Iterator[tuple[Image, list[Plane]]]:
        """Each image with its planes."""
        for image in self.images:
            yield image, [plane for plane in self.planes if plane.image is image]

    def way(self, config: AdaptConfig) -> str:
        """How volumes are worked on, in words."""
        size = self.voxel_size
        planes = planes_of(config.enhanced.planes, size)
        specs = [one.spec for one in self.enhancers]
        ways = (
            way_in_words(self.shape, self.spec, spec, planes, stretch_between(size, spec.voxel_size))
            for spec in specs
        )
        return "; ".join(dict.fromkeys(ways))

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of raw, strokes, and the forest or maps that are there already."""
        found = {
            f"raw {plane.image.name} {plane.z}": f"{plane.facts.fingerprint} {plane.image.voxel_size}"
            for plane in self.planes
        }
        found |= {f"strokes {n}": one.fingerprint for n, one in enumerate(self.drawn.strokes)}
        found |= {"strokes held out": f"{self.drawn.held_share} of each class, seed {self.drawn.seed}"}
        found |= {f"map {p.number}": p.map_facts.fingerprint for p in self.planes if p.map_facts}
        if self.forest is not None:
            arrays = (self.forest.features, self.forest.thresholds, self.forest.leaf_values)
            found["forest"] = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
        return found

    @property
    def label_fingerprints(self) -> dict[str, str]:
        """Of dense labels, if there are any."""
        labelled = [(p, p.label_facts) for p in self.planes if p.label_facts]
        return {f"labels {p.number}": f"{facts.fingerprint} {p.ignored}" for p, facts in labelled}


def fitted_segmentor(config: AdaptConfig) -> AdaptConfig:
    """The same settings with patches for volumes, unless they were set.

    Raises:
        InputError: raw volumes that cannot be used.
    """
    settings = config.segmentor
    if config.ndim == 2 or settings is None or "patch" in settings.model_fields_set:
        return config
    volumes = open_volumes(config.target.raw, config.target.axes, config.target.voxel_size)
    sizes = [volume.voxel_size for volume in volumes if volume.ndim == 3]
    shape = common_shape(sizes, 3) if sizes else None
    step = ModelSpec.of("segmentor", (), settings.network, 3, shape).step
    patch = typical_patch(shape, step, NETWORK_VOXELS)
    return config.model_copy(update={"segmentor": settings.model_copy(update={"patch": patch})})


def open_target(
    config: AdaptConfig,
    trust: bool = False,
    known: Known | None = None,
    kept: Mapping[str, Path] | None = None,
) -> Target:
    """Opens and checks all data of a configuration, and the enhancer.

    Args:
        trust: whether Python code in the enhancer's package may be run. It is no setting: a run from somebody
            else cannot ask for it.
        known: what was found out about the files before.
        kept: by the stage that keeps it, the copy of an enhancer that counts in place of what `config` names.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    check_engine(config.engine)
    known = known or Known()
    given, kept = given_enhancers(config), kept or {}
    enhancers = tuple(open_enhancer(kept.get(one.stage, one.name), trust, known) for one in given)
    for one, opened in zip(given, enhancers, strict=True):
        if opened.spec.ndim > config.ndim:
            raise InputError(f"{one.name} is an enhancer in 3D, but ndim is 2; set ndim to 3")
    project = None if config.target.ilp is None else open_project(config.target.ilp)
    images, strokes, spec = _open_images(config, project, [one.spec for one in enhancers], known)
    forest = _open_forest(config, project, spec)
    if not config.target.probabilities:
        images = _compared(images, strokes, forest, config.target, known)
    for one, opened in zip(given, enhancers, strict=True):
        kept_classes(config, opened.spec, one)  # refuses what is not evident
        _compare_pixel_sizes(config, opened.spec, images[0])
    # a forest that is there already has learned from all strokes: none are left to judge by
    exists = config.forest == "ilp" or (config.target.ilp is not None and config.target.probabilities)
    drawn = Drawn(tuple(strokes), 0.0 if exists else config.held_out, config.seed)
    raws = [part for image in images for part in image.parts]
    labels = _open_labels(config.target, config.ndim, images)
    maps = open_maps(config, images, known) if config.target.probabilities else []
    planes = tuple(
        Plane(
            number, image, z, raws[number], image.facts[z], drawn,
            labels[number] if labels else None, LabelFacts.of(labels[number], known) if labels else None,
            maps[number] if maps else None, RawFacts.of(maps[number], known) if maps else None,
            config.target.ignore_label,
        )
        for number, (image, z) in enumerate((i, z) for i in images for z in range(len(i.parts)))
    )  # fmt: skip
    if maps:
        facts = [plane.map_facts for plane in planes if plane.map_facts]
        check_against_strokes(maps, facts, strokes, known)
    shape = common_shape((image.voxel_size for image in images), config.ndim)
    return Target(images, planes, drawn, spec, enhancers, forest, bool(maps), shape)


def _compared(
    images: list[Image], strokes: Sequence[Strokes], forest: Forest | None, data: TargetData, known: Known
) -> list[Image]:
    """The images, compared with what the forest has learned on, or is to learn on: the painted ones.

    Raises:
        InputError: one is far outside that range, and is not to be rescaled.
    """
    if forest is not None:
        learned = learned_by(forest)
        if learned is None:
            return images
        return in_range(images, learned, "the forest of the project", data.rescale, known)
    facts = [one for image in images for one in image.facts]
    painted = [one.intensities for one, drawn in zip(facts, strokes, strict=True) if drawn.counts]
    if not painted:
        return images
    advice = "; paint on some of them, too, or try --set target_forest.brightness=0.3"
    learned = Intensities.together(painted)
    return in_range(images, learned, "the forest of the strokes", data.rescale, known, advice)


def with_pixel_size(config: AdaptConfig, target: Target) -> AdaptConfig:
    """The same settings with the pixel size that the files state, if `enhanced.pixel_size` asks for it.

    Raises:
        InputError: the files or an enhancer do not state one, or both are too far from each other.
    """
    stated = config.enhanced.pixel_size
    if stated is None:
        return config
    sizes = {image.voxel_size[-1] if image.voxel_size else None for image in target.images}
    wanted = (sizes.pop() if len(sizes) == 1 else None) if stated == "file" else stated
    if wanted is None:
        raise InputError(
            "enhanced.pixel_size is file, but the raw files state none, or several; give it in nm"
        )
    for given, one in zip(given_enhancers(config), target.enhancers, strict=True):
        if one.spec.voxel_size is None:
            raise InputError(
                f"{given.name} does not say at which pixel size it learned; leave out enhanced.pixel_size"
            )
        learned = one.spec.voxel_size[-1]
        if not 1 / _FAR <= wanted / learned <= _FAR:
            raise InputError(
                f"enhanced.pixel_size is {wanted:g} nm but {given.name} learned at {learned:g} nm; they may "
                f"differ by a factor of {_FAR:g} at most"
            )
    enhanced = config.enhanced.model_copy(update={"pixel_size": wanted})
    return config.model_copy(update={"enhanced": enhanced})


def _compare_pixel_sizes(config: AdaptConfig, model: ModelSpec, image: Image) -> None:
    """Tells of a scale by which structures would have as many pixels as where the enhancer learned."""
    if not model.voxel_size or not image.voxel_size or config.enhanced.pixel_size is not None:
        return
    factor = image.voxel_size[-1] / model.voxel_size[-1]
    scales = config.enhanced.scales
    if not min(scales) / _ALIKE <= factor <= max(scales) * _ALIKE:
        log.warning(
            "pixels are %.3g nm here and were %.3g nm where the enhancer learned: consider "
            "--set enhanced.pixel_size=file, or enhanced.scales=[%.2g]",
            image.voxel_size[-1], model.voxel_size[-1], factor,
        )  # fmt: skip


def features_of(config: AdaptConfig, model: ModelSpec, shape: tuple[float, ...] | None) -> FeatureSpec | None:
    """Of the target forest: as set, or as the enhancer learned on, or None if neither is known."""
    recorded = model.record.get("features")
    learned = FeatureSpec.from_dict(recorded) if isinstance(recorded, dict) else None
    if learned and learned.ndim < config.ndim:
        learned = in_volumes(learned, config.features.ndim if config.features else None, shape)
    spec = learned if config.features is None else feature_spec(config.features, config.ndim, shape)
    if learned and spec and (other := spec.difference(learned)):
        log.warning("the target forest's features are not those that the enhancer learned on: %s", other)
    if spec and spec.ndim != config.ndim:
        raise InputError(f"the enhancer's features are {spec.ndim}D but ndim is {config.ndim}; set ndim")
    return spec


def _open_images(
    config: AdaptConfig, project: Project | None, models: Sequence[ModelSpec], known: Known
) -> tuple[list[Image], list[Strokes], FeatureSpec]:
    """The images, the strokes on each of their parts, and the features of a forest for them."""
    if project is not None:
        images, strokes, own = project_images(project, config.target, config.ndim, known)
        if config.features is not None:
            shape = common_shape((image.voxel_size for image in images), config.ndim)
            own = replace(feature_spec(config.features, own.ndim, shape), channels=own.channels)
        return images, strokes, own
    images = open_images(config.target, config.ndim, config.target.channels, known)
    shape = common_shape((image.voxel_size for image in images), config.ndim)
    spec, *others = (features_of(config, model, shape) for model in models)
    for other in others:
        if spec and other and (difference := spec.difference(other)):
            log.warning(
                "the enhancers learned on different features, and the first one's are used: %s", difference
            )
    if spec is None:
        log.warning(
            "%s does not say on which features it learned; all of ilastik's are used",
            given_enhancers(config)[0].name,
        )
        spec = feature_spec(FeatureSettings(), config.ndim, shape)
    raws = [part for image in images for part in image.parts]
    channels = {raw.shape[0] if "c" in raw.axes else 1 for raw in raws}
    if len(channels) > 1:
        raise InputError(f"images with {sorted(channels)} channels came; give images that are alike")
    if config.target.strokes:
        strokes = open_strokes(config.target, config.ndim, config.classes, raws, known)
    else:
        strokes = [Strokes.none(raw.spatial_shape) for raw in raws]
    return images, strokes, replace(spec, channels=channels.pop())


def _open_forest(config: AdaptConfig, project: Project | None, spec: FeatureSpec) -> Forest | None:
    if config.forest == "train" or project is None:
        return None
    order = class_order(project, config.target.background)
    return project_forest(project, spec, order, learned_range(project, config.target.rescale))


def _open_labels(data: TargetData, ndim: int, images: list[Image]) -> list[Volume]:
    """The dense labels of each raw image, or none.

    Raises:
        InputError: they do not fit.
    """
    if data.labels is None:
        return []
    volumes = select(open_volumes(data.labels), data.manifest)
    names, keys = [plain_name(volume) for volume in volumes], [plain_name(image.whole) for image in images]
    ordered = in_order(volumes, names, keys, "labels")
    numbers = [checked_labels(volume, data.ignore_label) for volume in ordered]
    labels = [image for volume in numbers for image in images_of(volume, ndim, data.slices)]
    raws = [part for image in images for part in image.parts]
    if len(labels) != len(raws):
        raise InputError(f"{len(raws)} raw images but {len(labels)} label images came; give one for each")
    for raw, truth in zip(raws, labels, strict=True):
        if raw.spatial_shape != truth.spatial_shape or truth.dtype.kind not in "uib":
            raise InputError(
                f"{truth.name} has shape {truth.spatial_shape} and type {truth.dtype}, but whole numbers of "
                f"shape {raw.spatial_shape} were expected; give labels of {raw.name}"
            )
    return labels
