"""Stage *pretrained_net*: a network trained without labels, for others to start from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from shallow2deep.blocks import Window
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import restore_with_network
from shallow2deep.inputs.names import plain_name
from shallow2deep.inputs.start_weights import PRETRAINED_NET, Start, open_start, with_licences, with_start
from shallow2deep.inputs.unlabelled_images import Unlabelled, UnlabelledImages
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import write_probabilities
from shallow2deep.networks.devices import choose_device
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.outputs import Output
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.seeding import generator, integer_seed
from shallow2deep.settings import CHANGEABLE, HidingSettings, OptimisationSettings, PretrainConfig
from shallow2deep.stages.forests import random_window
from shallow2deep.stages.labelled_net import windows_over
from shallow2deep.stages.network_training import (
    augmentation,
    built,
    changes_of,
    own_source,
    recorded_changes,
    require_trainable,
    save_as,
    versions,
)
from shallow2deep.stages.probabilities import mirrored_to
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.loop import train
from shallow2deep.training.restoring import Restoring, hide, restored_well
from shallow2deep.training.segments import samples_used
from shallow2deep.training.validation import Sample

CHECKS = "checks"
_CHECKED = 8  # images at most
_SIDE = {2: 1024, 3: 128}  # of what is checked of an image, pixels at most
_SHOWN = ("original", "given", "restored", "restored where it was hidden")


def pretrained_net_stage(
    config: PretrainConfig, images: UnlabelledImages, known: Known | None = None
) -> Stage:
    """Trains the network on random patches; the weights with the best PSNR stay."""
    spec, settings = images.spec(config), config.pretrained_net
    require_trainable(f"{PRETRAINED_NET}.patch", settings.patch, spec)
    start = open_start(settings, spec, PRETRAINED_NET, known)
    deciding = {
        "seed": config.seed,
        "hiding": config.hiding.deciding(),
        "cell": cell_of(config.hiding, spec, images.shape),
        "voxel_size": images.voxel_size,
        "strides": spec.strides,
        **own_source(spec),
        **settings.deciding(),
    }
    licences = with_licences((data.licence for data in config.images), start)
    return Stage(
        PRETRAINED_NET,
        deciding,
        with_start(images.fingerprints, start),
        partial(pretrain_on_images, spec, config, images, start),
        {"name": config.name, "data_licences": licences},
        changes=recorded_changes(config, PRETRAINED_NET),
        changeable=CHANGEABLE,
    )


def pretrain_on_images(
    spec: ModelSpec, config: PretrainConfig, images: UnlabelledImages, start: Start | None, job: Job
) -> None:
    """Trains the network of `spec`, saves it, and shows what it restores."""
    settings, changes = config.pretrained_net, changes_of(config, PRETRAINED_NET)
    training = settings.as_training
    network = built(spec, config.seed, PRETRAINED_NET)
    begun = {"start": start.give(network)} if start else {}
    cut = _Cut(images.moments, settings.patch)
    hiding = partial(hide, settings=config.hiding, cell=cell_of(config.hiding, spec, images.shape))
    result = train(
        network,
        RandomPatches(images.training, cut, samples_used(training, changes), config.seed),
        HiddenWindows(images.validation, cut, hiding, config.seed),
        training,
        job.folder,
        spec.outputs,
        Restoring(),
        job,
        _change(spec, settings, hiding, config.seed),
        changes,
        partial(job.steer, "."),
        config.seed,
        Keeper(job.folder, settings, partial(save_as, spec)),
        judge=restored_well,
    )
    record = {
        "settings": {
            "seed": config.seed,
            "hiding": config.hiding.deciding(),
            PRETRAINED_NET: settings.deciding(),
        },
        **begun,
        "training": result,
        "versions": versions(),
    }
    save_model(job.folder, network, spec.with_record(record))
    _write_checks(job.folder, images, hiding, settings, config.seed)


def cell_of(settings: HidingSettings, spec: ModelSpec, shape: Sequence[float] | None) -> tuple[int, ...]:
    """Sides of the cells that are hidden, pixels: about the same length along each axis."""
    lengths = shape if shape is not None and spec.ndim == 3 else (1.0,) * spec.ndim
    return tuple(max(1, round(settings.cell * min(lengths) / length)) for length in lengths)


Hiding = Callable[..., Sample]
"""See `hide`: of images and a generator."""


def _change(
    spec: ModelSpec, settings: OptimisationSettings, hiding: Hiding, seed: int
) -> Callable[[Tensor, Tensor, int], Sample]:
    """Changes a batch as a whole, without noise or blur, which nobody could restore, and hides parts."""
    kept = settings.augment.model_copy(update={"noise": 0.0, "blur": 0.0})
    whole = augmentation(("raw",), spec, settings.model_copy(update={"augment": kept}), seed, PRETRAINED_NET)

    def change(images: Tensor, counted: Tensor, step: int) -> Sample:
        images, counted = whole(images, counted, step)
        random = Generator(images.device).manual_seed(integer_seed(seed, f"{PRETRAINED_NET} hiding", step))
        given, weight = hiding(images, random=random)
        return given, torch.cat([images, weight * counted], 1)

    return change


@dataclass(frozen=True)
class _Cut:
    """How samples are cut: by which moments raw is normalised, and their size in pixels."""

    moments: Moments
    size: tuple[int, ...]

    def __call__(self, image: Unlabelled, window: Window) -> Tensor:
        """Float32 `(1, *size)`."""
        return torch.from_numpy(
            mirrored_to(self.moments.standardised(image.raw.read(window)), self.size)[None]
        )


@dataclass(frozen=True)
class RandomPatches:
    """Random patches, not hidden yet, of all whose pixels count; the larger an image the more."""

    images: Sequence[Unlabelled]
    cut: _Cut
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{PRETRAINED_NET} sample", index)
        sizes = [np.prod(image.raw.spatial_shape, dtype=float) for image in self.images]
        image = self.images[int(rng.choice(len(sizes), p=np.divide(sizes, sum(sizes))))]
        patch = self.cut(image, random_window(image.raw.spatial_shape, self.cut.size, rng))
        return patch, torch.ones_like(patch)


@dataclass(frozen=True)
class HiddenWindows:
    """Windows side by side over all images, hidden; of very many, some that are spread evenly."""

    images: Sequence[Unlabelled]
    cut: _Cut
    hiding: Hiding
    seed: int

    @cached_property
    def _places(self) -> list[tuple[Unlabelled, Window]]:
        return windows_over(self.images, self.cut.size)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        patch = self.cut(*self._places[index])[None]
        given, weight = self.hiding(patch, random=_validating(self.seed, "window", index))
        return given[0], torch.cat([patch, weight], 1)[0]


def _validating(seed: int, what: str, index: int) -> Generator:
    return Generator().manual_seed(integer_seed(seed, f"{PRETRAINED_NET} validation {what}", index))


def _write_checks(
    folder: Path, images: UnlabelledImages, hiding: Hiding, settings: OptimisationSettings, seed: int
) -> None:
    """What the network restores of validation images, or of their middles, stitched, as TIFF."""
    network, _ = load_model(folder)
    (folder / CHECKS).mkdir(exist_ok=True)
    for number, image in enumerate(images.validation[:_CHECKED]):
        middle = _middle(image.raw.spatial_shape)
        original = images.moments.standardised(image.raw.read(middle))[None]
        given, weight = hiding(torch.from_numpy(original[None]), random=_validating(seed, "check", number))
        found = _restored(network, given[0].numpy(), settings)
        visible = np.where(weight[0].numpy() > 0, found, original)
        outputs = [Output(None, name) for name in _SHOWN]
        parts = np.concatenate([original, given[0].numpy(), found, visible])
        path = folder / CHECKS / f"{number}_{plain_name(image.raw)}.tif"
        write_probabilities(path, parts, outputs, image.raw.voxel_size)


def _restored(network: nn.Module, given: np.ndarray, settings: OptimisationSettings) -> np.ndarray:
    return restore_with_network(network, given, choose_device(settings.device))


def _middle(shape: Sequence[int]) -> Window:
    sides = [min(n, _SIDE[len(shape)]) for n in shape]
    starts = [(n - side) // 2 for n, side in zip(shape, sides, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
