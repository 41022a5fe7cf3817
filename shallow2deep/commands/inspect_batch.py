"""`s2d inspect-batch`: a batch as a network sees it in training, with its labels, as a picture."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from shallow2deep.errors import InputError
from shallow2deep.evaluation.pictures import save_samples
from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.results import SOURCE_NET
from shallow2deep.inputs.source import fitted, open_sources
from shallow2deep.networks.model import WITH_RAW, ModelSpec
from shallow2deep.networks.own import trust_files
from shallow2deep.outputs import Output
from shallow2deep.runs.changes import with_made
from shallow2deep.runs.engine import MANIFEST
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.settings import EnhancerTrainConfig, TrainingSettings, read_yaml, validated
from shallow2deep.stages.enhancer import enhancer_spec
from shallow2deep.stages.network_training import augmentation, changes_of, pool_network_spec, pool_samples
from shallow2deep.training.augment import Kind
from shallow2deep.training.segments import samples_used, segment_at, segments

NETWORKS = (ENHANCER, WITH_RAW, SOURCE_NET)


def inspect_batch(
    run: str | Path, out: str | Path, step: int = 0, network: str = ENHANCER, trust: bool = False
) -> Path:
    """Draws the very samples that a network of a run is trained on at a step, changed as they are there.

    Args:
        run: of enhancer-train, whose pool is finished; its network may be trained or not.
        out: a PNG; a row for each sample: what the network sees, and that with the outlines of its labels.
        step: of training, from 0.
        network: any of `NETWORKS`.
        trust: whether Python code of networks of one's own may be run.

    Returns:
        `out`.

    Raises:
        InputError: no such run, network or step.
    """
    run, out = Path(run), Path(out)
    if command_of(run) != "enhancer-train":
        raise InputError(f"{run}: no run of enhancer-train here; give one")
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: the picture is a PNG; give such a name")
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
    parts = segments(settings, changes)
    if step >= parts[-1].end:
        raise InputError(f"step {step} was asked for, but training has {parts[-1].end}; give a smaller one")
    pool = run / "probabilities" / "pool.zarr"
    samples = pool_samples(spec, inputs, settings, config, pool, samples_used(settings, changes))
    batch = [samples[index] for index in segment_at(parts, step).samples(step)]
    images, targets = (torch.stack(part) for part in zip(*batch, strict=True))
    change = augmentation(inputs, spec, settings, config.seed, spec.kind)
    _draw(out, *change(images, targets, step), inputs, spec.outputs)
    return out


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
