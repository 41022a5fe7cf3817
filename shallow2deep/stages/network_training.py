"""What stages that train a network share: one from the source's pool, and any network of a spec."""

import platform
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from shallow2deep.errors import SettingsError
from shallow2deep.inputs.source import Source
from shallow2deep.networks.losses import LOSSES
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import EnhancerTrainConfig, TrainingSettings
from shallow2deep.training.loop import train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.samples import TrainingSamples, ValidationSamples
from shallow2deep.version import VERSION


def built(spec: ModelSpec, seed: int, stage: str) -> UNet:
    """A network whose first weights depend on the seed and the stage alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, f"{stage} weights"))
        return spec.build()


def require_whole_steps(setting: str, patch: Sequence[int], spec: ModelSpec) -> None:
    """Whether a network takes patches of this size.

    Raises:
        SettingsError: it does not.
    """
    if any(n % step for n, step in zip(patch, spec.step, strict=True)):
        raise SettingsError(
            f"{setting} {tuple(patch)} does not divide by {max(spec.step)}, as this network needs"
        )


def versions() -> dict[str, str]:
    """Of what decides on a network's weights, for records."""
    return {"shallow2deep": VERSION, "torch": torch.__version__, "python": platform.python_version()}


def pool_network_stage(
    name: str,
    inputs: str,
    roles: tuple[Output, ...],
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    source: Source,
    probabilities: Stage,
) -> Stage:
    """Trains a network on the pool of the stage *probabilities*.

    Args:
        inputs: what of the pool it sees: "maps" or "raw".
        roles: what its outputs tell.
    """
    spec = ModelSpec.of(name, roles, settings.network, config.ndim, voxel_size=source.voxel_size)
    require_whole_steps(f"{name}.patch", settings.patch, spec)
    deciding = {"seed": config.seed, "voxel_size": source.voxel_size, **settings.deciding()}
    metadata = {"name": config.name, "data_licences": list(source.licences)}
    work = partial(train_on_pool, spec, inputs, settings, config, source.spec.to_dict())
    return Stage(name, deciding, after(probabilities), work, metadata)


def train_on_pool(
    spec: ModelSpec,
    inputs: str,
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    features: dict[str, Any],
    job: Job,
) -> None:
    """Trains and saves the network of `spec`."""
    network = built(spec, config.seed, spec.kind)
    pool = job.run / "probabilities" / "pool.zarr"
    training = TrainingSamples(
        pool,
        "training",
        spec.outputs,
        inputs,
        settings.patch,
        settings.augment,
        settings.steps * settings.batch,
        config.seed,
        spec.kind,
    )
    validation = ValidationSamples(pool, "validation", spec.outputs, inputs, spec.step)
    objective = Supervised(LOSSES[settings.loss])
    result = train(network, training, validation, settings, job.folder, spec.outputs, objective, job)
    record = {
        "classes": list(config.classes),
        "features": features,
        "settings": {
            "seed": config.seed,
            "forests": config.forests.deciding(),
            "probabilities": config.probabilities.deciding(),
            spec.kind: settings.deciding(),
        },
        "training": result,
        "versions": versions(),
    }
    save_model(job.folder, network, spec.with_record(record))
