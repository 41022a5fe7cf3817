"""The labelled images that one network is trained on, opened, checked and split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.shapes import NETWORK_VOXELS, common_shape, typical_patch
from shallow2deep.inputs.source import Labelled, open_source, split
from shallow2deep.io.known import Known
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.settings import OptimisationSettings, TrainConfig

S = TypeVar("S", bound=OptimisationSettings)

LABELLED_NET = "labelled_net"  # the stage that trains the network


@dataclass(frozen=True)
class LabelledImages:
    """What the stage *labelled_net* reads.

    Attributes:
        voxel_size: that of all images; None if they differ, or if it is not known.
        shape: of voxels, by which networks in 3D are made; None for cubes.
    """

    training: list[Labelled]
    validation: list[Labelled]
    voxel_size: tuple[float, ...] | None
    shape: tuple[float, ...] | None

    @cached_property
    def moments(self) -> Moments:
        """Of the raw of all training images together, by which the network's input is normalised."""
        return Moments.of_sums(image.raw_facts.sums for image in self.training)

    @cached_property
    def intensities(self) -> Intensities:
        """The range of the training images' raw."""
        return Intensities.together([image.raw_facts.intensities for image in self.training])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of all images with their labels."""
        parts = (("training", self.training), ("validation", self.validation))
        return {f"{part} {n}": image.fingerprint for part, images in parts for n, image in enumerate(images)}

    def spec(self, config: TrainConfig) -> ModelSpec:
        """The network that is trained on them."""
        outputs = tuple(Output(name, role) for name in config.classes[1:] for role in config.outputs)
        spec = ModelSpec.of(
            "segmentor",
            outputs,
            config.labelled_net.network,
            config.ndim,
            self.shape,
            voxel_size=self.voxel_size,
        )
        return spec.normalised_by(self.moments.mean, self.moments.deviation)


def open_labelled(config: TrainConfig, known: Known | None = None) -> tuple[TrainConfig, LabelledImages]:
    """Opens and checks all data of a configuration.

    Args:
        known: what was found out about the files before.

    Returns:
        The settings, with a patch that fits the images where none was set; and the images.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    known = known or Known()
    opened = [
        open_source(data, config.ndim, len(config.classes), known, number)
        for number, data in enumerate([*config.sources, *config.validation_sources])
    ]
    own = opened[: len(config.sources)]
    shape = common_shape((image.raw.voxel_size for images in own for image in images), config.ndim)
    sizes = [image.raw.spatial_shape for images in own for image in images]
    settings = fitting_patch(config.labelled_net, config.ndim, sizes, shape)
    config = config.model_copy(update={"labelled_net": settings})
    training = [image for images in own for image in images]
    validation = [image for images in opened[len(own) :] for image in images]
    if not validation:
        parts = [split(images, config.validation, config.labelled_net.patch, known) for images in own]
        training, validation = ([image for part in parts for image in part[n]] for n in (0, 1))
    voxels = {image.raw.voxel_size for image in training}
    return config, LabelledImages(training, validation, voxels.pop() if len(voxels) == 1 else None, shape)


def fitting_patch(
    settings: S, ndim: int, sizes: Sequence[tuple[int, ...]], shape: tuple[float, ...] | None
) -> S:
    """The same settings; a patch that was not set is as large as usual, or as the smallest image allows.

    Args:
        sizes: of the images, pixels.
        shape: of voxels; None for cubes.
    """
    if "patch" in settings.model_fields_set:
        return settings
    step = ModelSpec.of("segmentor", (), settings.network, ndim, shape).step
    usual = settings.patch if ndim == 2 else typical_patch(shape, step, NETWORK_VOXELS)
    *depth, height, width = np.min(sizes, 0)
    least = (*depth, min(height, width), min(height, width))  # square in the plane, to be turned in it
    fitting = tuple(max(int(min(n, most)) // s * s, s) for n, most, s in zip(usual, least, step, strict=True))
    return settings.model_copy(update={"patch": fitting})
