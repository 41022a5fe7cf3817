"""`s2d inspect-batch`: a batch as a network sees it in training, with its labels, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from shallow2deep.errors import InputError
from shallow2deep.evaluation.pictures import save_samples
from shallow2deep.inputs.labelled_images import LABELLED_NET, open_labelled
from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.results import SOURCE_NET
from shallow2deep.inputs.source import fitted, open_sources
from shallow2deep.networks.model import WITH_RAW, ModelSpec
from shallow2deep.networks.own import trust_files
from shallow2deep.outputs import Output
from shallow2deep.runs.changes import with_made
from shallow2deep.runs.engine import MANIFEST
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.settings import (
    EnhancerTrainConfig,
    TrainConfig,
    TrainingSettings,
    levels_of,
    read_yaml,
    resolved,
    validated,
)
from shallow2deep.stages.enhancer import enhancer_spec
from shallow2deep.stages.labelled_net import training_patches
from shallow2deep.stages.network_training import (
    augmentation,
    changes_of,
    pool_network_spec,
    pool_samples,
    require_trainable,
)
from shallow2deep.training.augment import Kind
from shallow2deep.training.loop import BatchChange
from shallow2deep.training.segments import Segment, samples_used, segment_at, segments
from shallow2deep.training.validation import Samples

NETWORKS = (ENHANCER, WITH_RAW, SOURCE_NET)


@dataclass(frozen=True)
class _Trained:
    """A network's training: what it is, what it sees of which samples, and how they are changed."""

    spec: ModelSpec
    inputs: tuple[Kind, ...]
    samples: Samples
    parts: Sequence[Segment]
    change: BatchChange


def inspect_batch(
    run: str | Path, out: str | Path, step: int = 0, network: str = ENHANCER, trust: bool = False
) -> Path:
    """Draws the very samples that a network is trained on at a step, changed as they are there.

    Args:
        run: of enhancer-train, whose pool is finished, or of train; its network may be trained or not. Or a
            YAML file with settings of train.
        out: a PNG; a row for each sample: what the network sees, and that with the outlines of its labels.
        step: of training, from 0.
        network: of enhancer-train: any of `NETWORKS`.
        trust: whether Python code of networks of one's own may be run; that of a file of settings is.

    Returns:
        `out`.

    Raises:
        InputError: no such run, settings, network or step.
    """
    run, out = Path(run), Path(out)
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: the picture is a PNG; give such a name")
    if run.is_file() or command_of(run) == "train":
        found = _of_labelled(run, trust)
    elif command_of(run) == "enhancer-train":
        found = _of_source(run, network, trust)
    else:
        raise InputError(f"{run}: no run of enhancer-train or train here, and no settings of train; give one")
    end = found.parts[-1].end
    if step >= end:
        raise InputError(f"step {step} was asked for, but training has {end}; give a smaller one")
    batch = [found.samples[index] for index in segment_at(found.parts, step).samples(step)]
    images, targets = (torch.stack(part) for part in zip(*batch, strict=True))
    _draw(out, *found.change(images, targets, step), found.inputs, found.spec.outputs)
    return out


def _of_labelled(place: Path, trust: bool) -> _Trained:
    """The network of train, by its run or by settings."""
    if place.is_file():
        config, trust = resolved(TrainConfig, levels_of("train", place)), True
    else:
        path = place / "settings.yaml"
        config = with_made(validated(TrainConfig, read_yaml(path), str(path)), place)
    if trust:
        trust_files(config.labelled_net.network)
    config, images = open_labelled(config)
    spec, settings = images.spec(config), config.labelled_net
    require_trainable(f"{LABELLED_NET}.patch", settings.patch, spec)
    return _Trained(
        spec,
        ("raw",),
        training_patches(spec, config, images),
        segments(settings, changes_of(config, LABELLED_NET)),
        augmentation(("raw",), spec, settings, config.seed, LABELLED_NET),
    )


def _of_source(run: Path, network: str, trust: bool) -> _Trained:
    """A network of enhancer-train, whose samples come from a finished pool."""
    if not (run / "probabilities" / MANIFEST).is_file():
        raise InputError(f"{run}: its pool is not finished; run the same enhancer-train first")
    path = run / "settings.yaml"
    config = with_made(validated(EnhancerTrainConfig, read_yaml(path), str(path)), run)
    if trust:
        trust_files(*config.networks)
    config = fitted(config)
    spec, inputs, settings = _network(config, network, run)
    stage, place = (ENHANCER, WITH_RAW) if network == WITH_RAW else (network, ".")
    changes = changes_of(config, stage, place)
    pool = run / "probabilities" / "pool.zarr"
    return _Trained(
        spec,
        inputs,
        pool_samples(spec, inputs, settings, config, pool, samples_used(settings, changes)),
        segments(settings, changes),
        augmentation(inputs, spec, settings, config.seed, spec.kind),
    )


def _network(
    config: EnhancerTrainConfig, name: str, run: Path
) -> tuple[ModelSpec, tuple[Kind, ...], TrainingSettings]:
    """Its description, what it sees, and how it is trained."""
    source = open_sources(config, known_of(run))
    if name == SOURCE_NET and config.source_net is not None:
        roles = (Output(config.classes[1]),)
        return pool_network_spec(name, roles, config.source_net, config, source), ("raw",), config.source_net
    if name == ENHANCER or (name == WITH_RAW and config.enhancer.raw):
        inputs: tuple[Kind, ...] = ("map",) if name == ENHANCER else ("map", "raw")
        return enhancer_spec(config, source), inputs, config.enhancer
    raise InputError(f"{run} trains no {name}; give one of its own of {', '.join(NETWORKS)}")


def _draw(
    out: Path, images: Tensor, targets: Tensor, inputs: Sequence[str], outputs: Sequence[Output]
) -> None:
    pairs = zip(images, targets, strict=True)
    rows = [(_middle(image).numpy(), _middle(truth).numpy()) for image, truth in pairs]
    save_samples(out, rows, inputs, [output.title for output in outputs])


def _middle(sample: Tensor) -> Tensor:
    """Of volumes the middle plane."""
    return sample if sample.ndim == 3 else sample[:, sample.shape[1] // 2]
