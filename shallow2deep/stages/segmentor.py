"""Stage *segmentor* in its variants: a network for the target's raw; and the baselines' networks."""

import shutil
from functools import partial
from typing import Any

import torch
from torch import nn

from shallow2deep.inference.network_maps import predict_raw
from shallow2deep.inputs.previews import open_previews
from shallow2deep.inputs.results import SKIPPED, save_map
from shallow2deep.inputs.start_weights import Start, open_start, with_licences, with_start
from shallow2deep.inputs.target import Target
from shallow2deep.io.known import Known
from shallow2deep.networks.devices import choose_device
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.outputs import of_foreground
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import (
    AdaptConfig,
    Change,
    OptimisationSettings,
    SegmentorSettings,
    TrainingSettings,
    Variant,
)
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
from shallow2deep.training.augment import Kind
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.loop import train
from shallow2deep.training.objectives import FromPseudoLabels
from shallow2deep.training.segments import samples_used
from shallow2deep.training.target_samples import TargetSamples, TargetValidation


def network_stage(
    name: str, config: AdaptConfig, target: Target, pool: Stage, known: Known, variant: Variant | None = None
) -> Stage:
    """Trains a network on a pool and predicts all images with it.

    It is skipped if its pool was. Validation comes once, at the end, and only tells: without true labels it
    cannot choose among weights, so the last ones are kept.

    Args:
        variant: of the segmentor; a baseline has none, and starts from scratch.
    """
    settings = _settings(config, variant)
    spec = ModelSpec.of(
        "segmentor",
        of_foreground(config.classes[1:]),
        settings.network,
        config.ndim,
        target.shape,
        in_channels=target.spec.channels,
        voxel_size=target.voxel_size,
    )
    require_trainable("segmentor.patch", settings.patch, spec)
    open_previews(settings, spec)  # whether they can be
    deciding = {
        "seed": config.seed,
        "classes": config.classes,
        "variant": variant,
        "strides": spec.strides,
        **own_source(spec),
        **settings.deciding(),
    }
    start = open_start(settings, spec, name, known)
    work = partial(train_segmentor, spec, config, target, pool.name, variant, start)
    metadata, changes = _taught_by(target, start) if variant else {}, recorded_changes(config, name)
    changeable = ("learning_rate", "steps", "batch")
    return Stage(
        name, deciding, with_start(after(pool), start), work, metadata, changes=changes, changeable=changeable
    )


def train_segmentor(
    spec: ModelSpec,
    config: AdaptConfig,
    target: Target,
    pool: str,
    variant: Variant | None,
    start: Start | None,
    job: Job,
) -> None:
    """Trains the network of `spec`, saves it, and predicts the target's images."""
    if (job.run / pool / SKIPPED).exists():
        shutil.copyfile(job.run / pool / SKIPPED, job.folder / SKIPPED)
        return
    settings, name, moments = _settings(config, variant), job.folder.name, target.moments
    network = built(spec, config.seed, name)
    begun = {"start": start.give(network)} if start else {}
    place, channels = job.run / pool / "pool.zarr", spec.in_channels
    shared = settings.model_dump(include=set(OptimisationSettings.model_fields))
    training = TrainingSettings(**shared, validate_every=settings.steps)
    changes = [_validating_last(change) for change in changes_of(config, name)]
    count = samples_used(training, changes)
    samples = TargetSamples(place, settings.patch, channels, count, config.seed, name, settings.with_strokes)
    kinds: list[Kind] = ["raw" for _ in range(channels)]
    change = augmentation(kinds, spec, settings, config.seed, name)
    validation = TargetValidation(place, settings.patch, channels)
    seed = integer_seed(config.seed, f"{name} noise")
    objective = FromPseudoLabels(network, settings, variant or "plain", seed)
    steer = partial(job.steer, ".")
    normalised = spec.normalised_by(moments.mean, moments.deviation)
    result = train(
        network,
        samples,
        validation,
        training,
        job.folder,
        spec.outputs,
        objective,
        job,
        change,
        changes,
        steer,
        seed,
        Keeper(job.folder, settings, partial(save_as, normalised)),
        open_previews(settings, normalised),
    )
    record = {
        "features": target.spec.to_dict(),
        "raw": target.intensities.to_dict(),
        "channels": config.target.channels,
        "variant": variant,
        **begun,
        "training": result,
        "versions": versions(),
    }
    save_model(job.folder, network, normalised.with_record(record))
    predict_all(job, *load_model(job.folder), config, target, choose_device(settings.device))


def _settings(config: AdaptConfig, variant: Variant | None) -> SegmentorSettings:
    """Baselines start from scratch, and are trained as a whole."""
    settings = config.target_network
    return settings if variant else settings.model_copy(update={"weights": None, "frozen": ()})


def _validating_last(change: Change) -> Change:
    """Other steps, with the one validation at their end."""
    return change.model_copy(update={"validate_every": change.steps}) if change.steps else change


def _taught_by(target: Target, start: Start | None) -> dict[str, Any]:
    """What a segmentor has from its enhancer and its start: the terms of the data that taught them hold."""
    said = target.metadata
    licences = with_licences(said["data_licences"], start)
    return {"enhancer": said["name"] or "not named", "data_licences": licences}


def predict_all(
    job: Job, network: nn.Module, spec: ModelSpec, config: AdaptConfig, target: Target, device: torch.device
) -> None:
    """The network's maps of all images."""
    for image in safely(target.images, f"{job.folder.name} maps", job):
        p = image.join(predict_raw(network, spec, part.read(), device, job) for part in image.parts)
        save_map(job.folder, image, p, spec.outputs, config.classes[0])
