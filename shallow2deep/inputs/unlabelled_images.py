"""The raw images that a network is trained on without labels, opened, checked and split."""

from dataclasses import dataclass
from functools import cached_property

from shallow2deep.blocks import Window
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.facts import RawFacts
from shallow2deep.inputs.images import images_of, in_channels, open_raw_volumes
from shallow2deep.inputs.labelled_images import fitting_patch
from shallow2deep.inputs.shapes import common_shape
from shallow2deep.inputs.source import split
from shallow2deep.inputs.start_weights import PRETRAINED_NET
from shallow2deep.io.cache import ReadCache
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.settings import PretrainConfig, UnlabelledData


@dataclass(frozen=True)
class Unlabelled:
    """A raw image, lazy, and what is known of all that is in it."""

    raw: Volume
    raw_facts: RawFacts

    def crop(self, window: Window, known: Known) -> "Unlabelled":
        """A window of it."""
        raw = self.raw.crop(window)
        return Unlabelled(raw, RawFacts.of(raw, known))


@dataclass(frozen=True)
class UnlabelledImages:
    """What the stage *pretrained_net* reads.

    Attributes:
        voxel_size: that of all images; None if they differ, or if it is not known.
        shape: of voxels, by which networks in 3D are made; None for cubes.
    """

    training: list[Unlabelled]
    validation: list[Unlabelled]
    voxel_size: tuple[float, ...] | None
    shape: tuple[float, ...] | None

    @cached_property
    def moments(self) -> Moments:
        """Of the raw of all training images together, by which the network's input is normalised."""
        return Moments.of_sums(image.raw_facts.sums for image in self.training)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of all images."""
        parts = (("training", self.training), ("validation", self.validation))
        return {
            f"{part} {n}": i.raw_facts.fingerprint for part, images in parts for n, i in enumerate(images)
        }

    def spec(self, config: PretrainConfig) -> ModelSpec:
        """The network that is trained on them."""
        spec = ModelSpec.of(
            PRETRAINED_NET,
            (Output(None, "raw"),),
            config.pretrained_net.network,
            config.ndim,
            self.shape,
            voxel_size=self.voxel_size,
        )
        return spec.normalised_by(self.moments.mean, self.moments.deviation)


def open_unlabelled(
    config: PretrainConfig, known: Known | None = None
) -> tuple[PretrainConfig, UnlabelledImages]:
    """Opens and checks all data of a configuration.

    Args:
        known: what was found out about the files before.

    Returns:
        The settings, with a patch that fits the images where none was set; and the images.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    known = known or Known()
    own = [_opened(data, config.ndim, known) for data in config.images]
    training = [image for images in own for image in images]
    shape = common_shape((image.raw.voxel_size for image in training), config.ndim)
    sizes = [image.raw.spatial_shape for image in training]
    settings = fitting_patch(config.pretrained_net, config.ndim, sizes, shape)
    config = config.model_copy(update={"pretrained_net": settings})
    validation = [i for data in config.validation_images for i in _opened(data, config.ndim, known)]
    if not validation:
        parts = [split(images, config.validation, settings.patch, known) for images in own]
        training, validation = ([image for part in parts for image in part[n]] for n in (0, 1))
    voxels = {image.raw.voxel_size for image in training}
    return config, UnlabelledImages(training, validation, voxels.pop() if len(voxels) == 1 else None, shape)


def _opened(data: UnlabelledData, ndim: int, known: Known) -> list[Unlabelled]:
    cache = ReadCache()
    greys = [in_channels(volume, data.channels) for volume in open_raw_volumes(data)]
    raws = [cache.keep(image) for grey in greys for image in images_of(grey, ndim, data.slices)]
    return [Unlabelled(raw, RawFacts.of(raw, known)) for raw in raws]
