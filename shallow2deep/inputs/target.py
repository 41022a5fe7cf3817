"""The raw images and strokes of an adaptation, and the enhancer it uses."""

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from shallow2deep.settings import AdaptConfig, TargetData
from shallow2deep.errors import InputError
from shallow2deep.evaluation.held_out import split_strokes
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest
from shallow2deep.io.atomic import sha256
from shallow2deep.io.ilp import open_project
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.networks.model import ModelSpec
from shallow2deep.inputs.data import images_of, open_strokes, select
from shallow2deep.inputs.ilastik import class_order, project_forest, project_images
from shallow2deep.inputs.images import Image, open_images
from shallow2deep.inputs.maps import open_maps
from shallow2deep.inputs.models import find_enhancer, is_package, load_enhancer
from shallow2deep.inputs.names import in_order, plain_name
from shallow2deep.inputs.source import check_engine, feature_spec

log = logging.getLogger(__name__)

_ALIKE = 1.3  # pixel sizes that differ by a smaller factor are taken for the same


@dataclass(frozen=True)
class Target:
    """What the target's stages read.

    Attributes:
        strokes: to learn from; one array for each of `raws`.
        held_out: strokes that only judge results, likewise.
        labels: dense labels of `raws`, or none.
        forest: one that is there already, in place of one trained on the strokes.
        trust: see `open_target`.
        maps: probability maps that are there already, in place of any forest's; `(y, x)` for each of `raws`.
    """

    images: list[Image]
    strokes: list[np.ndarray]
    held_out: list[np.ndarray]
    labels: list[Volume]
    spec: FeatureSpec
    enhancer: Path
    forest: Forest | None = None
    maps: list[Volume] | None = None
    trust: bool = False

    @property
    def raws(self) -> list[Volume]:
        return [part for image in self.images for part in image.parts]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of raw, strokes, and the forest or maps that are there already."""
        found = {
            f"raw {image.name} {n}": f"{part.fingerprint()} {image.voxel_size}"
            for image in self.images
            for n, part in enumerate(image.parts)
        }
        drawn = {f"strokes {n}": hashlib.sha256(s.tobytes()).hexdigest() for n, s in enumerate(self.strokes)}
        given = {f"map {n}": volume.fingerprint() for n, volume in enumerate(self.maps or [])}
        if self.forest is not None:
            arrays = (self.forest.features, self.forest.thresholds, self.forest.leaf_values)
            given["forest"] = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
        return found | drawn | given

    @property
    def held_fingerprint(self) -> str:
        return hashlib.sha256(b"".join(s.tobytes() for s in self.held_out)).hexdigest()

    @property
    def enhancer_fingerprint(self) -> str:
        if is_package(self.enhancer):
            return sha256(self.enhancer)
        return " ".join(sha256(self.enhancer / name) for name in ("model.json", "weights.safetensors"))


def open_target(config: AdaptConfig, trust: bool = False) -> Target:
    """Opens and checks all data of a configuration, and the enhancer.

    Args:
        trust: whether Python code in the enhancer's package may be run. It is no setting: a run from somebody
            else cannot ask for it.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    if config.ndim == 3:
        raise InputError("ndim 3 is not enhanced yet; set ndim to 2, which uses volumes plane by plane")
    check_engine(config.engine)
    _, model = load_enhancer(config.enhancer, trust)
    images, strokes, spec = _open_images(config, _features(config, model))
    _compare_pixel_sizes(config, model, images[0])
    # a forest that is there already has learned from all strokes: none are left to judge by
    exists = config.forest == "ilp" or (config.target.ilp is not None and config.target.probabilities)
    share = 0.0 if exists else config.held_out
    used, held_out = split_strokes(strokes, share, config.seed)
    labels = _open_labels(config.target, config.ndim, images)
    return Target(
        images,
        used,
        held_out,
        labels,
        spec,
        find_enhancer(config.enhancer),
        _open_forest(config, spec),
        open_maps(config, images, strokes) if config.target.probabilities else None,
        trust,
    )


def _compare_pixel_sizes(config: AdaptConfig, model: ModelSpec, image: Image) -> None:
    """Tells of a scale by which structures would have as many pixels as where the enhancer learned."""
    if not model.voxel_size or not image.voxel_size:
        return
    factor = image.voxel_size[-1] / model.voxel_size[-1]
    scales = config.enhanced.scales
    if not min(scales) / _ALIKE <= factor <= max(scales) * _ALIKE:
        log.warning(
            "pixels are %.3g nm here and were %.3g nm where the enhancer learned: consider "
            "--set enhanced.scales=[%.2g]",
            image.voxel_size[-1], model.voxel_size[-1], factor,
        )  # fmt: skip


def _features(config: AdaptConfig, model: ModelSpec) -> FeatureSpec | None:
    """Of the target forest: as set, or as the enhancer learned on, or None if neither is known."""
    recorded = model.record.get("features")
    learned = FeatureSpec.from_dict(recorded) if isinstance(recorded, dict) else None
    spec = learned if config.features is None else feature_spec(config.features, config.ndim)
    if learned and spec and (other := spec.difference(learned)):
        log.warning("the target forest's features are not those that the enhancer learned on: %s", other)
    if spec and spec.ndim != config.ndim:
        raise InputError(f"the enhancer's features are {spec.ndim}D but ndim is {config.ndim}; set ndim")
    return spec


def _open_images(
    config: AdaptConfig, spec: FeatureSpec | None
) -> tuple[list[Image], list[np.ndarray], FeatureSpec]:
    """The images, the strokes on each of their parts, and the features of a forest for them."""
    if config.target.ilp is not None:
        images, strokes, own = project_images(config.target)
        if config.features is not None:
            own = replace(feature_spec(config.features, own.ndim), channels=own.channels)
        return images, strokes, own
    if spec is None:
        log.warning(
            "%s does not say on which features it learned; all of ilastik's are used", config.enhancer
        )
        spec = FeatureSpec.ilastik(ndim=config.ndim)
    images = open_images(config.target, config.ndim, config.target.channels)
    raws = [part for image in images for part in image.parts]
    channels = {raw.shape[0] if "c" in raw.axes else 1 for raw in raws}
    if len(channels) > 1:
        raise InputError(f"images with {sorted(channels)} channels came; give images that are alike")
    if config.target.strokes:
        strokes = open_strokes(config.target, config.ndim, config.classes, raws)
    else:
        strokes = [np.zeros(raw.spatial_shape, np.uint8) for raw in raws]
    return images, strokes, replace(spec, channels=channels.pop())


def _open_forest(config: AdaptConfig, spec: FeatureSpec) -> Forest | None:
    if config.forest == "train" or config.target.ilp is None:
        return None
    project = open_project(config.target.ilp)
    return project_forest(project, spec, class_order(project, config.target.background))


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
    labels = [image.grey() for volume in ordered for image in images_of(volume, ndim, data.slices)]
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
