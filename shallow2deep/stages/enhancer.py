"""Stages *enhancer* and *source_net*: networks trained from the pool."""

import platform
from pathlib import Path

import torch

from shallow2deep.settings import EnhancerTrainConfig, TrainingSettings
from shallow2deep.errors import SettingsError
from shallow2deep.networks.losses import LOSSES
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.seeding import integer_seed
from shallow2deep.runs.engine import Stage, after, check_stop, stop_requested
from shallow2deep.inputs.source import Source
from shallow2deep.networks.devices import choose_device
from shallow2deep.training.loop import Stopped, train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.samples import TrainingSamples, ValidationSamples
from shallow2deep.version import VERSION

_NO_RESULT = {"workers", "device", "checkpoint_every"}  # settings that do not change what comes out


def enhancer_stage(config: EnhancerTrainConfig, source: Source, probabilities: Stage, run: Path) -> Stage:
    """The network that corrects probability maps."""
    return _network_stage("enhancer", "maps", config.enhancer, config, source, probabilities, run)


def source_net_stage(config: EnhancerTrainConfig, source: Source, probabilities: Stage, run: Path) -> Stage:
    """The baseline: the same network, trained on the same patches of raw."""
    if config.source_net is None:
        raise SettingsError("source_net is not set; give its settings, or {} for the defaults")
    if len(config.classes) > 2:
        raise SettingsError("source_net is for one foreground class; leave it out for more classes")
    return _network_stage("source_net", "raw", config.source_net, config, source, probabilities, run)


def _network_stage(
    name: str,
    inputs: str,
    settings: TrainingSettings,
    config: EnhancerTrainConfig,
    source: Source,
    probabilities: Stage,
    run: Path,
) -> Stage:
    outputs = ("foreground", "boundary") if getattr(settings, "boundary", False) else ("foreground",)
    spec = ModelSpec(
        kind=name,
        outputs=outputs,
        features=settings.network.features,
        depth=settings.network.depth,
        stem=settings.network.stem,
        voxel_size=source.voxel_size,
    )
    step = settings.network.stem * 2**settings.network.depth
    if any(n % step for n in settings.patch):
        raise SettingsError(f"{name}.patch {settings.patch} does not divide by {step}, as this network needs")
    choose_device(settings.device)
    pool = run / "probabilities" / "pool.zarr"

    def work(folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed(config.seed, f"{name} weights"))
            network = spec.build()
        training = TrainingSamples(
            pool,
            "training",
            len(outputs),
            inputs,
            settings.patch,
            settings.augment,
            settings.steps * settings.batch,
            config.seed,
            name,
        )
        validation = ValidationSamples(pool, "validation", len(outputs), inputs, step)
        try:
            objective = Supervised(LOSSES[settings.loss])
            result = train(
                network, training, validation, settings, folder, outputs, objective, stop_requested
            )
        except Stopped:
            check_stop()
            raise
        save_model(folder, network, _with_record(spec, config, settings, source, result))

    plain = {
        "seed": config.seed,
        "name": config.name,
        "licences": source.licences,
        "voxel_size": source.voxel_size,
        **settings.model_dump(mode="json", exclude=_NO_RESULT),
    }
    return Stage(name, plain, after(probabilities), work)


def _with_record(
    spec: ModelSpec, config: EnhancerTrainConfig, settings: TrainingSettings, source: Source, result: dict
) -> ModelSpec:
    """The model's description with how it was made, as far as that is the same on every run."""
    record = {
        "name": config.name,
        "classes": list(config.classes),
        "features": source.spec.to_dict(),
        "data_licences": list(source.licences),
        "settings": {
            **config.model_dump(mode="json", include={"seed", "forests", "probabilities"}),
            spec.kind: settings.model_dump(mode="json", exclude=_NO_RESULT),
        },
        "training": result,
        "versions": {
            "shallow2deep": VERSION,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    return ModelSpec(**{**vars(spec), "record": record})
