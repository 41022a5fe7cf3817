"""What stages that train a network share: one from the source's pool, and any network of a spec."""

import logging
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shallow2deep.errors import SettingsError
from shallow2deep.inputs.previews import open_previews
from shallow2deep.inputs.source import Source
from shallow2deep.inputs.start_weights import Start, open_start, with_licences, with_start
from shallow2deep.io.known import Known
from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.model import WITH_RAW, ModelSpec, save_model
from shallow2deep.outputs import Output
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import (
    CHANGEABLE,
    AdaptConfig,
    Change,
    EnhancerTrainConfig,
    OptimisationSettings,
    PretrainConfig,
    TrainConfig,
    TrainingSettings,
)
from shallow2deep.stages.forests import views
from shallow2deep.training.augment import Kind, augment
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.loop import train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.samples import TrainingSamples, ValidationSamples
from shallow2deep.training.segments import samples_used
from shallow2deep.training.validation import Samples
from shallow2deep.version import VERSION

log = logging.getLogger(__name__)

_Trains = EnhancerTrainConfig | AdaptConfig | TrainConfig | PretrainConfig
_COUNTED = 200  # samples in which foreground is counted
_MOST = 100.0  # times that a pixel can weigh more than another


def save_as(spec: ModelSpec, folder: Path, network: nn.Module) -> None:
    """Writes a network that is described by `spec`."""
    save_model(folder, network, spec)


def built(spec: ModelSpec, seed: int, stage: str) -> nn.Module:
    """A network whose first weights depend on the seed and the stage alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, f"{stage} weights"))
        return spec.build()


def require_trainable(setting: str, patch: Sequence[int], spec: ModelSpec) -> None:
    """Whether a network takes patches of this size, and one of the user's own works at all.

    Raises:
        SettingsError: it does not take them.
        InputError: it does not work.
    """
    if own := spec.layers.own:
        own.check(built(spec, 0, "check"), spec.in_channels, len(spec.outputs))
    elif not spec.layers.is_local:
        log.warning(
            "%s: results of this %s depend on the tile, as its layers see statistics of it; blocks and "
            "other programs' tiles will not join exactly",
            setting.partition(".")[0], spec.layers.in_words,
        )  # fmt: skip
    if any(n % step for n, step in zip(patch, spec.step, strict=True)):
        steps = spec.step if len(set(spec.step)) > 1 else spec.step[0]
        raise SettingsError(f"{setting} {tuple(patch)} does not divide by {steps}, as this network needs")


def own_source(spec: ModelSpec) -> dict[str, str]:
    """What of a network's file decides on a stage."""
    return {"network_file": spec.layers.own.checksum} if spec.layers.own else {}


def augmentation(
    inputs: Sequence[Kind], spec: ModelSpec, settings: OptimisationSettings, seed: int, stage: str
) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    """What `train` does to batches: as the settings say, and by the seed, the stage and the step alone."""

    def change(images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator(images.device).manual_seed(integer_seed(seed, f"{stage} change", step))
        return augment(images, targets, inputs, settings.augment, random, spec.is_isotropic)

    return change


def priorities(config: EnhancerTrainConfig) -> dict[str, list[float]]:
    """How often networks learn from sources, if not from all alike."""
    found = [source.priority for source in config.sources]
    return {"priorities": found} if len(set(found)) > 1 else {}


def _shares(config: EnhancerTrainConfig, patches: Sequence[int]) -> list[float] | None:
    """How often each training patch is chosen; None if all are alike."""
    if not priorities(config):
        return None
    found = views(config, len(config.sources), "training")
    wanted = [config.sources[found[i % len(found)].source].priority for i in patches]
    return [one / sum(wanted) for one in wanted]


def _used_patches(config: EnhancerTrainConfig, part: str) -> list[int]:
    """The numbers of the patches whose source is not left out.

    Raises:
        SettingsError: there are none.
    """
    found, settings = views(config, len(config.sources), part), config.probabilities
    count = settings.patches if part == "training" else settings.validation_patches
    left_out = {n for n, data in enumerate(config.sources) if data.name in config.leave_out}
    used = [i for i in range(count) if found[i % len(found)].source not in left_out]
    if not used:
        raise SettingsError(
            f"without {', '.join(config.leave_out)} there are no {part} patches; have more of them, or more "
            "forests"
        )
    return used


def versions() -> dict[str, str]:
    """Of what decides on a network's weights, for records."""
    return {"shallow2deep": VERSION, "torch": torch.__version__, "python": platform.python_version()}


def pool_network_spec(
    name: str,
    roles: tuple[Output, ...],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    source: Source,
) -> ModelSpec:
    """A network of one input for the source's images.

    Args:
        roles: what its outputs tell.
    """
    size = source.voxel_size
    return ModelSpec.of(name, roles, settings.network, config.ndim, source.shape, voxel_size=size)


def pool_network_stage(
    spec: ModelSpec,
    inputs: tuple[Kind, ...],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    source: Source,
    probabilities: Stage,
    companion: bool = False,
    known: Known | None = None,
) -> Stage:
    """Trains a network on the pool of the stage *probabilities*.

    Args:
        inputs: what of the pool it sees.
        companion: whether a second one is trained that sees raw, too.
    """
    require_trainable(f"{spec.kind}.patch", settings.patch, spec)
    deciding = {
        "seed": config.seed,
        "voxel_size": source.voxel_size,
        "strides": spec.strides,
        "leave_out": sorted(config.leave_out),
        **own_source(spec),
        **priorities(config),
        **settings.deciding(),
    }
    given_weights(settings, len(spec.outputs))  # whether they fit
    previews = open_previews(settings, spec)
    start = open_start(settings, spec, spec.kind, known)
    licences = [data.licence for data in config.sources if data.name not in config.leave_out]
    metadata = {"name": config.name, "data_licences": with_licences(licences, start)}
    networks = {".": (spec, inputs)}
    if companion:
        networks[WITH_RAW] = (replace(spec, in_channels=len(inputs) + 1), (*inputs, "raw"))
        if start and settings.frozen:
            start.require_frozen(networks[WITH_RAW][0], settings.frozen, companion=True)
    work = partial(train_networks, networks, settings, config, source.spec.to_dict(), previews, start)
    return Stage(
        spec.kind,
        deciding,
        with_start(after(probabilities), start),
        work,
        metadata,
        changes=recorded_changes(config, spec.kind),
        changeable=CHANGEABLE,
    )


def given_weights(settings: TrainingSettings, outputs: int) -> list[float] | None:
    """How much foreground pixels of each output weigh in losses, as set; None if as all others, or by counts.

    Raises:
        SettingsError: weights of another number of outputs.
    """
    wanted = settings.foreground_weight
    if wanted in (1, "frequency"):
        return None
    weights = list(wanted) if isinstance(wanted, tuple) else [float(wanted)] * outputs
    if len(weights) != outputs:
        raise SettingsError(f"foreground_weight has {len(weights)} numbers, but there are {outputs} outputs")
    return weights


def foreground_weights(settings: TrainingSettings, samples: Samples, outputs: int) -> list[float] | None:
    """The same, also by counts: background over foreground in the samples."""
    if settings.foreground_weight == "frequency":
        return [min(max(weight, 1 / _MOST), _MOST) for weight in _rarities(samples)]
    return given_weights(settings, outputs)


def _rarities(samples: Samples) -> list[float]:
    """Pixels of background for each one of foreground, of each output, in the first training samples."""
    counts: Tensor | int = 0
    for index in range(min(_COUNTED, len(samples))):
        targets = samples[index][1].flatten(1)
        counts = counts + torch.stack([(targets == 0).sum(1), (targets == 1).sum(1)])
    background, foreground = torch.as_tensor(counts).tolist()
    return [b / max(f, 1) for b, f in zip(background, foreground, strict=True)]


def changes_of(config: _Trains, stage: str, network: str = ".") -> list[Change]:
    """The changes by hand in one network's training."""
    return [change for change in config.changes if (change.stage, change.network) == (stage, network)]


def recorded_changes(config: _Trains, stage: str) -> list[dict[str, Any]]:
    """All changes by hand in a stage, for its record."""
    return [c.model_dump(exclude_none=True, exclude={"stage"}) for c in config.changes if c.stage == stage]


def train_networks(
    networks: Mapping[str, tuple[ModelSpec, tuple[Kind, ...]]],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    features: dict[str, Any],
    previews: Mapping[str, np.ndarray],
    start: Start | None,
    job: Job,
) -> None:
    """Trains and saves networks, by description and inputs, each in its own part of the stage's folder.

    Args:
        previews: for the first one.
        start: whose layers they take over.
    """
    for place, (spec, inputs) in networks.items():
        folder = job.folder / place
        folder.mkdir(exist_ok=True)
        drawn = previews if place == "." else {}
        train_on_pool(spec, inputs, settings, config, features, place, job, drawn, start)
        if place != ".":
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # they are no artifact


def pool_samples(
    spec: ModelSpec,
    inputs: tuple[Kind, ...],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    pool: Path,
    count: int,
) -> TrainingSamples:
    """What the network of `spec` is trained on."""
    patches = _used_patches(config, "training")
    return TrainingSamples(
        pool,
        "training",
        spec.outputs,
        inputs,
        patches,
        settings.patch,
        count,
        config.seed,
        spec.kind,
        settings.with_foreground,
        _shares(config, patches),
    )


def train_on_pool(
    spec: ModelSpec,
    inputs: tuple[Kind, ...],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    features: dict[str, Any],
    place: str,
    job: Job,
    previews: Mapping[str, np.ndarray],
    start: Start | None = None,
) -> None:
    """Trains and saves the network of `spec`, in a part of the stage's folder."""
    folder, changes = job.folder / place, changes_of(config, job.folder.name, place)
    network = built(spec, config.seed, spec.kind)
    begun = {"start": start.give(network, place == WITH_RAW)} if start else {}
    pool = job.run / "probabilities" / "pool.zarr"
    validation = _used_patches(config, "validation")
    samples = pool_samples(spec, inputs, settings, config, pool, samples_used(settings, changes))
    unchanged = ValidationSamples(pool, "validation", spec.outputs, inputs, validation, spec.step)
    objective = Supervised(loss_of(settings, foreground_weights(settings, samples, len(spec.outputs))))
    change = augmentation(inputs, spec, settings, config.seed, spec.kind)
    steer = partial(job.steer, place)
    result = train(
        network,
        samples,
        unchanged,
        settings,
        folder,
        spec.outputs,
        objective,
        job,
        change,
        changes,
        steer,
        config.seed,
        Keeper(folder, settings, partial(save_as, spec)),
        previews,
    )
    record = {
        "classes": list(config.classes),
        "features": features,
        "settings": {
            "seed": config.seed,
            "forests": config.forests.deciding(),
            "probabilities": config.probabilities.deciding(),
            spec.kind: settings.deciding(),
        },
        **begun,
        "training": result,
        "versions": versions(),
    }
    save_model(folder, network, spec.with_record(record))
