"""Stage *labelled_net*: a network for raw, trained on dense labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from shallow2deep.blocks import Window
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.windows import Windows
from shallow2deep.inputs.labelled_images import LABELLED_NET, LabelledImages
from shallow2deep.inputs.source import Labelled
from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.outputs import BOUNDARY, IGNORED, Output
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.seeding import generator
from shallow2deep.settings import CHANGEABLE, TrainConfig
from shallow2deep.stages.forests import random_window
from shallow2deep.stages.network_training import (
    augmentation,
    built,
    changes_of,
    foreground_weights,
    own_source,
    recorded_changes,
    require_trainable,
    versions,
)
from shallow2deep.stages.probabilities import mirrored_to
from shallow2deep.training.loop import Sample, train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.segments import samples_used

_TRIES = 20
_VALIDATED = 64  # windows at most


def labelled_net_stage(config: TrainConfig, images: LabelledImages) -> Stage:
    """Trains the network on random patches of the images; the weights with the best score stay."""
    spec, settings = images.spec(config), config.labelled_net
    require_trainable(f"{LABELLED_NET}.patch", settings.patch, spec)
    deciding = {
        "seed": config.seed,
        "classes": config.classes,
        "outputs": config.outputs,
        "voxel_size": images.voxel_size,
        "strides": spec.strides,
        **own_source(spec),
        **settings.deciding(),
    }
    licences = dict.fromkeys(data.licence for data in config.sources)
    return Stage(
        LABELLED_NET,
        deciding,
        images.fingerprints,
        partial(train_on_images, spec, config, images),
        {"name": config.name, "data_licences": list(licences)},
        changes=recorded_changes(config, LABELLED_NET),
        changeable=CHANGEABLE,
    )


def train_on_images(spec: ModelSpec, config: TrainConfig, images: LabelledImages, job: Job) -> None:
    """Trains the network of `spec`, and saves it."""
    settings, changes = config.labelled_net, changes_of(config, LABELLED_NET)
    network = built(spec, config.seed, LABELLED_NET)
    patch, moments = settings.patch, images.moments
    samples = LabelledSamples(
        images.training, moments, spec.outputs, patch, samples_used(settings, changes), config.seed
    )
    result = train(
        network,
        samples,
        LabelledWindows(images.validation, moments, spec.outputs, patch),
        settings,
        job.folder,
        spec.outputs,
        Supervised(loss_of(settings, foreground_weights(settings, samples, len(spec.outputs)))),
        job,
        augmentation(("raw",), spec, settings, config.seed, LABELLED_NET),
        changes,
        partial(job.steer, "."),
    )
    record = {
        "classes": list(config.classes),
        "raw": images.intensities.to_dict(),
        "channels": config.sources[0].channels,
        "settings": {"seed": config.seed, LABELLED_NET: settings.deciding()},
        "training": result,
        "versions": versions(),
    }
    save_model(job.folder, network, spec.with_record(record))


@dataclass(frozen=True)
class _Cut:
    """What samples are cut from.

    Attributes:
        moments: by which raw is normalised.
        size: of a sample, pixels.
    """

    images: Sequence[Labelled]
    moments: Moments
    outputs: tuple[Output, ...]
    size: tuple[int, ...]

    def sample(self, image: Labelled, window: Window) -> Sample:
        """Normalised raw float32 `(1, *size)`, targets uint8 `(K, *size)`: 0, 1, or `IGNORED`."""
        raw = mirrored_to(self.moments.standardised(image.raw.read(window)), self.size)
        truth = mirrored_to(self._targets(image, window), self.size)
        return torch.from_numpy(raw[None]), torch.from_numpy(truth)

    def _targets(self, image: Labelled, window: Window) -> np.ndarray:
        classes, names = image.classes(window), list(dict.fromkeys(o.class_name for o in self.outputs))
        found = []
        for output in self.outputs:
            own = classes == names.index(output.class_name) + 1
            if output.role == BOUNDARY:
                own = find_boundaries(np.where(own, image.labels.read(window), 0), mode="thick")
                unknown = ndi.maximum_filter(classes == IGNORED, 3)
            else:
                unknown = classes == IGNORED
            found.append(np.where(unknown, IGNORED, own).astype(np.uint8))
        return np.stack(found)


@dataclass(frozen=True)
class LabelledSamples(_Cut):
    """Random patches; three of four contain foreground if a few tries find one."""

    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{LABELLED_NET} sample", index)
        areas = np.array([np.prod(image.raw.spatial_shape, dtype=float) for image in self.images])
        for _ in range(_TRIES):
            image = self.images[int(rng.choice(len(areas), p=areas / areas.sum()))]
            window = random_window(image.raw.spatial_shape, self.size, rng)
            if index % 4 == 0 or np.any(image.classes(window) % IGNORED):  # neither 0 nor this
                break
        return self.sample(image, window)


@dataclass(frozen=True)
class LabelledWindows(_Cut):
    """Windows side by side over all images, unchanged; of very many, some that are spread evenly."""

    @cached_property
    def _places(self) -> list[tuple[Labelled, Window]]:
        found = []
        for image in self.images:
            shape = image.raw.spatial_shape
            size = tuple(min(n, m) for n, m in zip(shape, self.size, strict=True))
            found += [(image, window) for window in Windows(shape, size, size)]
        return found[:: -(-len(found) // _VALIDATED)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        return self.sample(*self._places[index])
