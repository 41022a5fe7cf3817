"""The raw images and strokes of an adaptation, and the enhancer it uses."""

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shallow2deep.config import AdaptConfig, TargetData
from shallow2deep.errors import InputError
from shallow2deep.evaluation.held_out import split_strokes
from shallow2deep.features import FeatureSpec
from shallow2deep.io.atomic import sha256
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.networks.unet import UNet
from shallow2deep.stages.data import images_of, open_strokes, select
from shallow2deep.stages.images import Image, open_images
from shallow2deep.stages.source import check_engine, feature_spec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """What the target's stages read.

    Attributes:
        strokes: to learn from; one array for each of `raws`.
        held_out: strokes that only judge results, likewise.
        labels: dense labels of `raws`, or none.
    """

    images: list[Image]
    strokes: list[np.ndarray]
    held_out: list[np.ndarray]
    labels: list[Volume]
    spec: FeatureSpec
    enhancer: Path

    @property
    def raws(self) -> list[Volume]:
        return [part for image in self.images for part in image.parts]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of raw and strokes."""
        found = {
            f"raw {image.name} {n}": f"{part.fingerprint()} {image.voxel_size}"
            for image in self.images
            for n, part in enumerate(image.parts)
        }
        drawn = {f"strokes {n}": hashlib.sha256(s.tobytes()).hexdigest() for n, s in enumerate(self.strokes)}
        return found | drawn

    @property
    def held_fingerprint(self) -> str:
        return hashlib.sha256(b"".join(s.tobytes() for s in self.held_out)).hexdigest()

    @property
    def enhancer_fingerprint(self) -> str:
        return " ".join(sha256(self.enhancer / name) for name in ("model.json", "weights.safetensors"))


def open_target(config: AdaptConfig) -> Target:
    """Opens and checks all data of a configuration, and the enhancer.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    if config.ndim == 3:
        raise InputError("ndim 3 is not enhanced yet; set ndim to 2, which uses volumes plane by plane")
    check_engine(config.engine)
    _, model = load_enhancer(config.enhancer)
    recorded = model.record.get("features")
    learned = FeatureSpec.from_dict(recorded) if isinstance(recorded, dict) else None
    spec = learned if config.features is None else feature_spec(config.features, config.ndim)
    if spec is None:
        raise InputError(f"{config.enhancer} does not say which features it learned on; set features")
    if learned and (other := spec.difference(learned)):
        log.warning("the target forest's features are not those that the enhancer learned on: %s", other)
    if spec.ndim != config.ndim:
        raise InputError(f"the enhancer's features are {spec.ndim}D but ndim is {config.ndim}; set ndim")
    images = open_images(config.target, config.ndim)
    raws = [part for image in images for part in image.parts]
    strokes = open_strokes(config.target, config.ndim, config.classes, raws)
    used, held_out = split_strokes(strokes, config.held_out, config.seed)
    labels = _open_labels(config.target, config.ndim, raws)
    return Target(images, used, held_out, labels, spec, enhancer_folder(config.enhancer))


def _open_labels(data: TargetData, ndim: int, raws: list[Volume]) -> list[Volume]:
    """The dense labels of each raw image, or none.

    Raises:
        InputError: they do not fit.
    """
    if data.labels is None:
        return []
    volumes = select(open_volumes(data.labels), data.manifest)
    labels = [image.grey() for volume in volumes for image in images_of(volume, ndim, data.slices)]
    if len(labels) != len(raws):
        raise InputError(f"{len(raws)} raw images but {len(labels)} label images came; give one for each")
    for raw, truth in zip(raws, labels, strict=True):
        if raw.spatial_shape != truth.spatial_shape or truth.dtype.kind not in "uib":
            raise InputError(
                f"{truth.name} has shape {truth.spatial_shape} and type {truth.dtype}, but whole numbers of "
                f"shape {raw.spatial_shape} were expected; give labels of {raw.name}"
            )
    return labels


def enhancer_folder(name: str | Path) -> Path:
    """The folder with the enhancer's model, given that folder or the run that made it.

    Raises:
        InputError: neither.
    """
    for folder in (Path(name), Path(name) / "enhancer"):
        if (folder / "model.json").is_file():
            return folder
    raise InputError(
        f"{name}: no enhancer here; give a finished run of enhancer-train, or its folder enhancer"
    )


def load_enhancer(name: str | Path) -> tuple[UNet, ModelSpec]:
    """The enhancer's network and description.

    Raises:
        InputError: not an enhancer, or damaged.
    """
    network, spec = load_model(enhancer_folder(name))
    if spec.kind != "enhancer":
        raise InputError(f"{name} is a {spec.kind}, not an enhancer; give the folder of an enhancer")
    if spec.in_channels != 1:
        raise InputError(f"{name} takes {spec.in_channels} channels; an enhancer takes one map")
    return network, spec
