"""Networks for the target's raw: stage *segmentor* in its variants, and the baselines beside it."""

import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shallow2deep.settings import (
    AdaptConfig,
    OptimisationSettings,
    SegmentorSettings,
    TrainingSettings,
    Variant,
)
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.io.atomic import sha256
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.networks.unet import UNet
from shallow2deep.progress import progress_bar
from shallow2deep.seeding import integer_seed
from shallow2deep.inputs.results import SKIPPED, SOURCE_NET, predict_raw
from shallow2deep.runs.engine import Stage, after, check_stop, stop_requested
from shallow2deep.inputs.images import save_map
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.stages.pseudo_labels import moments_of
from shallow2deep.inputs.target import Target
from shallow2deep.networks.devices import choose_device
from shallow2deep.training.loop import Stopped, train
from shallow2deep.training.objectives import FromPseudoLabels
from shallow2deep.training.target_samples import TargetSamples, TargetValidation
from shallow2deep.version import VERSION

_NO_RESULT = {"workers", "device", "checkpoint_every", "variants", "rounds", "confidence", "weights"}
_SHARED = set(OptimisationSettings.model_fields)


def network_stage(
    name: str,
    config: AdaptConfig,
    target: Target,
    pool: Stage,
    run: Path,
    variant: Variant | None = None,
) -> Stage:
    """Trains a network on a pool and predicts all images with it.

    It is skipped if its pool was. Validation comes once, at the end, and only tells: without true labels it
    cannot choose among weights, so the last ones are kept.

    Args:
        variant: of the segmentor; a baseline has none, and starts from scratch.
    """
    settings = config.segmentor or SegmentorSettings()
    training = TrainingSettings(**settings.model_dump(include=_SHARED), validate_every=settings.steps)
    outputs = tuple(config.classes[1:])
    step = settings.network.stem * 2**settings.network.depth
    if any(n % step for n in settings.patch):
        raise SettingsError(
            f"segmentor.patch {settings.patch} does not divide by {step}, as this network needs"
        )
    device = choose_device(settings.device)
    channels = target.spec.channels
    start = _start(settings, len(outputs), channels) if variant else None

    def work(folder: Path) -> None:
        if (run / pool.name / SKIPPED).exists():
            shutil.copyfile(run / pool.name / SKIPPED, folder / SKIPPED)
            return
        moments = moments_of(target)
        spec = ModelSpec(
            kind="segmentor",
            outputs=outputs,
            features=settings.network.features,
            depth=settings.network.depth,
            stem=settings.network.stem,
            in_channels=channels,
            voxel_size=target.images[0].voxel_size,
            normalisation=(moments.mean, moments.deviation),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed(config.seed, f"{name} weights"))
            network = spec.build()
        if start is not None:
            network.load_state_dict(start[0].state_dict())
        place = run / pool.name / "pool.zarr"
        count = settings.steps * settings.batch
        samples = TargetSamples(place, settings.patch, channels, settings.augment, count, config.seed, name)
        validation = TargetValidation(place, settings.patch, channels)
        objective = FromPseudoLabels(
            network, settings, variant or "plain", integer_seed(config.seed, f"{name} noise")
        )
        try:
            result = train(network, samples, validation, training, folder, outputs, objective, stop_requested)
        except Stopped:
            check_stop()
            raise
        record = {
            **(_teacher(target) if variant else {}),
            "features": target.spec.to_dict(),
            "shallow2deep": VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "variant": variant,
            "training": result,
        }
        save_model(folder, network, replace(spec, record=record))
        _predict_all(folder, *load_model(folder), target, device)

    plain = {
        "seed": config.seed,
        "classes": config.classes,
        "variant": variant,
        **settings.model_dump(mode="json", exclude=_NO_RESULT),
    }
    inputs = after(pool)
    if start is not None:
        inputs["weights"] = start[1]
    return Stage(name, plain, inputs, work)


def _teacher(target: Target) -> dict[str, Any]:
    """What a segmentor has from its enhancer: the terms of the data that taught it hold for both."""
    record = load_enhancer(target.enhancer, target.trust)[1].record
    return {
        "enhancer": record.get("name", "not named"),
        "data_licences": list(record.get("data_licences", [])),
    }


def source_net_stage(config: AdaptConfig, target: Target) -> Stage:
    """The source's network, as it is, on the target's raw."""
    folder = target.enhancer.parent / SOURCE_NET
    if not (folder / "model.json").is_file():
        raise InputError(
            f"{folder}: no source net here; train it by s2d enhancer-train --with-source-net, or leave out "
            "compare.source_net"
        )
    network, spec = load_model(folder)
    if len(spec.outputs) != len(config.classes) - 1:
        raise InputError(
            f"{folder} tells {len(spec.outputs)} class apart from background but there are "
            f"{len(config.classes) - 1}; leave out compare.source_net"
        )
    if target.spec.channels != spec.in_channels:
        raise InputError(
            f"{folder} takes grey images but these have {target.spec.channels} channels; leave out "
            "compare.source_net"
        )
    device = choose_device(config.enhanced.device)
    fingerprint = " ".join(sha256(folder / name) for name in ("model.json", "weights.safetensors"))

    def work(own: Path) -> None:
        _predict_all(own, network, spec, target, device)
        save_model(own, network, spec)

    return Stage(SOURCE_NET, {}, target.fingerprints | {"source_net": fingerprint}, work)


def _predict_all(folder: Path, network: UNet, spec: ModelSpec, target: Target, device: torch.device) -> None:
    for image in progress_bar(target.images, desc=f"{folder.name} maps"):
        check_stop()
        p = image.join(predict_raw(network, spec, part.read(), device) for part in image.parts)
        save_map(folder, image, p, spec.outputs)


def _start(settings: SegmentorSettings, n_outputs: int, channels: int) -> tuple[UNet, str] | None:
    """The network to start from, and its fingerprint."""
    if settings.weights is None:
        return None
    folder = Path(settings.weights)
    network, spec = load_model(folder)
    if spec.kind == "enhancer":
        raise InputError(f"{folder} is an enhancer, which takes maps; give a segmentor or source net")
    own = settings.network
    if (spec.features, spec.depth, spec.stem, len(spec.outputs), spec.in_channels) != (
        own.features,
        own.depth,
        own.stem,
        n_outputs,
        channels,
    ):
        raise InputError(
            f"{folder} has features {spec.features}, depth {spec.depth}, stem {spec.stem}, "
            f"{len(spec.outputs)} outputs and {spec.in_channels} channels, other than segmentor.network and "
            "the raw; set the same there"
        )
    return network, sha256(folder / "weights.safetensors")
