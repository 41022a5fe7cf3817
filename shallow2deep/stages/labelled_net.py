"""Stage *labelled_net*: a network for raw, trained on dense labels alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from shallow2deep.blocks import Window
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.windows import Windows
from shallow2deep.inputs.labelled_images import LABELLED_NET, LabelledImages
from shallow2deep.inputs.previews import open_previews
from shallow2deep.inputs.source import Labelled
from shallow2deep.inputs.start_weights import Start, open_start, with_licences, with_start
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume
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
    given_weights,
    own_source,
    recorded_changes,
    require_trainable,
    save_as,
    versions,
)
from shallow2deep.stages.probabilities import mirrored_to
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.loop import train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.segments import samples_used
from shallow2deep.training.validation import Sample

_TRIES = 20
_VALIDATED = 64  # windows at most


def labelled_net_stage(config: TrainConfig, images: LabelledImages, known: Known | None = None) -> Stage:
    """Trains the network on random patches of the images; the weights with the best score stay."""
    spec, settings = images.spec(config), config.labelled_net
    require_trainable(f"{LABELLED_NET}.patch", settings.patch, spec)
    given_weights(settings, len(spec.outputs))  # whether they fit
    deciding = {
        "seed": config.seed,
        "classes": config.classes,
        "outputs": config.outputs,
        "voxel_size": images.voxel_size,
        "strides": spec.strides,
        **own_source(spec),
        **({"priorities": _priorities(config)} if len(set(_priorities(config))) > 1 else {}),
        **settings.deciding(),
    }
    start = open_start(settings, spec, LABELLED_NET, known)
    licences = with_licences((data.licence for data in config.sources), start)
    return Stage(
        LABELLED_NET,
        deciding,
        with_start(images.fingerprints, start),
        partial(train_on_images, spec, config, images, open_previews(settings, spec), start),
        {"name": config.name, "data_licences": licences},
        changes=recorded_changes(config, LABELLED_NET),
        changeable=CHANGEABLE,
    )


def _priorities(config: TrainConfig) -> list[float]:
    """How often the network learns from each source, in proportion to its size."""
    return [source.priority for source in config.sources]


def training_patches(spec: ModelSpec, config: TrainConfig, images: LabelledImages) -> "LabelledSamples":
    """What the network of `spec` is trained on."""
    settings = config.labelled_net
    return LabelledSamples(
        images.training,
        images.moments,
        spec.outputs,
        settings.patch,
        samples_used(settings, changes_of(config, LABELLED_NET)),
        config.seed,
        settings.with_foreground,
        _priorities(config),
    )


def train_on_images(
    spec: ModelSpec,
    config: TrainConfig,
    images: LabelledImages,
    previews: Mapping[str, np.ndarray],
    start: Start | None,
    job: Job,
) -> None:
    """Trains the network of `spec`, and saves it."""
    settings, changes = config.labelled_net, changes_of(config, LABELLED_NET)
    network = built(spec, config.seed, LABELLED_NET)
    begun = {"start": start.give(network)} if start else {}
    samples = training_patches(spec, config, images)
    result = train(
        network,
        samples,
        LabelledWindows(images.validation, images.moments, spec.outputs, settings.patch),
        settings,
        job.folder,
        spec.outputs,
        Supervised(loss_of(settings, foreground_weights(settings, samples, len(spec.outputs)))),
        job,
        augmentation(("raw",), spec, settings, config.seed, LABELLED_NET),
        changes,
        partial(job.steer, "."),
        config.seed,
        Keeper(job.folder, settings, partial(save_as, spec)),
        previews,
    )
    record = {
        "classes": list(config.classes),
        "raw": images.intensities.to_dict(),
        "channels": config.sources[0].channels,
        "settings": {"seed": config.seed, LABELLED_NET: settings.deciding()},
        **begun,
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
    """Random patches.

    Attributes:
        foreground: share of the patches that contain foreground if a few tries find one.
        priorities: of the images' sources: how often a pixel of theirs is seen.
    """

    count: int
    seed: int
    foreground: float = 0.0
    priorities: Sequence[float] = (1.0,)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{LABELLED_NET} sample", index)
        sizes = [
            np.prod(image.raw.spatial_shape, dtype=float) * self.priorities[image.source]
            for image in self.images
        ]
        tries = _TRIES if rng.random() < self.foreground else 1
        for _ in range(tries):
            image = self.images[int(rng.choice(len(sizes), p=np.divide(sizes, sum(sizes))))]
            window = random_window(image.raw.spatial_shape, self.size, rng)
            if tries == 1 or np.any(image.classes(window) % IGNORED):  # neither 0 nor this
                break
        return self.sample(image, window)


class _WithRaw(Protocol):
    @property
    def raw(self) -> Volume: ...


WithRaw = TypeVar("WithRaw", bound=_WithRaw)


def windows_over(images: Sequence[WithRaw], most: Sequence[int]) -> list[tuple[WithRaw, Window]]:
    """Windows side by side over all images, of a size at most; of very many, some that are spread evenly."""
    found = []
    for image in images:
        shape = image.raw.spatial_shape
        size = tuple(min(n, m) for n, m in zip(shape, most, strict=True))
        found += [(image, window) for window in Windows(shape, size, size)]
    return found[:: -(-len(found) // _VALIDATED)]


@dataclass(frozen=True)
class LabelledWindows(_Cut):
    """Windows side by side over all images, unchanged; of very many, some that are spread evenly."""

    @cached_property
    def _places(self) -> list[tuple[Labelled, Window]]:
        return windows_over(self.images, self.size)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        return self.sample(*self._places[index])
