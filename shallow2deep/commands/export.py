"""`s2d export`: finished runs as packages for other programs: bioimage.io, ZEN, and ilastik's projects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from torch import nn

from shallow2deep.commands.status import require_current
from shallow2deep.errors import InputError
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.czann import value_range_of, write_czann
from shallow2deep.exports.forest_in_project import export_forest
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.exports.verification import check_package, require_bioimageio
from shallow2deep.forests import Forest
from shallow2deep.inference.network_maps import predict_raw, predict_with_network
from shallow2deep.inputs.labelled_images import LABELLED_NET, LabelledImages, open_labelled
from shallow2deep.inputs.models import ENHANCER, given_enhancers, load_companion
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    SOURCE_NET,
    candidate_names,
    made,
    map_path,
)
from shallow2deep.inputs.target import open_target
from shallow2deep.io.atomic import read_json
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.model import WITH_RAW, ModelSpec, load_model
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.settings import (
    AdaptConfig,
    EnhancerTrainConfig,
    PackageSettings,
    TrainConfig,
    read_yaml,
    validated,
    with_overrides,
)
from shallow2deep.stages.kept import came_as_package, kept_enhancers
from shallow2deep.stages.prediction import CHOICE, PREDICTION

BIOIMAGEIO, CZANN, ILP = "bioimageio", "czann", "ilp"
# pixels of a real image on which an exported network is compared with the trained one
_SIDE = {2: 1024, 3: 96}


@dataclass(frozen=True)
class _Model:
    """A trained network, and what belongs to it.

    Attributes:
        sample: what it is applied to, float32 `(C, *spatial)`: a map for an enhancer, raw for a segmentor.
        raw_type: of the raw images, for a segmentor.
        measured: what its own run found out about how good it is, or nothing.
    """

    network: nn.Module
    spec: ModelSpec
    settings: PackageSettings
    classes: tuple[str, ...]
    sample: np.ndarray
    companion: tuple[nn.Module, ModelSpec] | None = None
    raw_type: np.dtype | None = None
    measured: str = ""


def export(
    run: str | Path,
    out: str | Path,
    format: str = BIOIMAGEIO,
    step: str | None = None,
    weights: Sequence[str] = ("pytorch_state_dict", "torchscript"),
    tile: int = 1024,
    overlap: int | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    depth: int | None = None,
) -> Path:
    """Writes what a run has made for another program, tested before it gets its name.

    Args:
        run: of `enhancer_train`, `adapt`, or `train`.
        out: a .zip file or a folder for bioimageio, .czann for ZEN, .ilp for a copy of the ilastik project.
        format: "bioimageio", "czann", or "ilp": the target forest in a copy of the project of `adapt`.
        step: of `adapt`: the name of the result whose network is wanted; its first segmentor if not given,
            or its enhancer if it has none.
        weights: formats for bioimageio: "pytorch_state_dict", "torchscript", "onnx".
        tile: pixels, of .czann.
        overlap: of tiles of .czann in pixels; the network's receptive field if not given.
        overrides: settings of the package, as "package.licence=CC-BY-4.0".
        trust: whether Python code in the enhancer's package may be run, if `adapt` needed that.
        depth: of .czann: planes of 3D tiles, each of which the network sees alone; 2D tiles if not given.

    Returns:
        `out`.

    Raises:
        InputError: a run that is not finished, a result without a network, or settings that are missing.
        Shallow2DeepError: the exported network differs from the trained one; nothing is written.
    """
    run, out = Path(run), Path(out)
    if format == ILP:
        return _export_project(run, out)
    if format not in (BIOIMAGEIO, CZANN):
        raise InputError(f'format "{format}" was asked for; there are {BIOIMAGEIO}, {CZANN} and {ILP}')
    command = command_of(run)
    if command == "enhancer-train":
        model = _of_source(run, overrides, trust)
    elif command == "train":
        model = _of_labelled(run, overrides, trust)
    elif command == "pretrain":
        raise InputError(
            f"{run}: a network that restores images; train one with it as weights, and export that"
        )
    else:
        model = _of_target(run, step, overrides, trust)
    if format == CZANN:
        assert model.raw_type is not None or model.spec.kind == "enhancer"
        value_range = value_range_of(model.raw_type) if model.raw_type is not None else 1.0
        return write_czann(
            out, model.network, model.spec, model.classes, tile, overlap,
            model.settings.title or "shallow2deep segmentor", model.settings.licence, value_range=value_range,
            depth=depth,
        )  # fmt: skip
    return _write_package(out, model, weights)


def _write_package(
    out: Path, model: _Model, weights: Sequence[str] = ("pytorch_state_dict", "torchscript")
) -> Path:
    info = _info(model)
    require_bioimageio()
    return write_package(
        out, model.network, model.spec, info, model.sample, _cover(model), weights, check_package,
        model.companion,
    )  # fmt: skip


def export_labelled(
    network: nn.Module, spec: ModelSpec, config: TrainConfig, images: LabelledImages, out: Path
) -> Path:
    """Writes a network of `train` as it is, finished or not, as a bioimage.io package.

    Args:
        images: those of its training; one of them is the package's test.

    Raises:
        InputError: settings of the package that are missing.
        Shallow2DeepError: the exported network differs from the given one; nothing is written.
    """
    return _write_package(out, _labelled(network, spec, config, images))


def _export_project(run: Path, out: Path) -> Path:
    config = _adapt_config(run, ())
    if config.target.ilp is None:
        raise InputError(f"{run} was not made from an ilastik project; run adapt with --ilp first")
    path = run / FOREST / "forest.npz"
    if not path.is_file():
        raise InputError(
            f"{run} has no forest of its own; run adapt on the project first, without probabilities"
        )
    return export_forest(Forest.load(path), config.target.ilp, out)


def _of_source(run: Path, overrides: Sequence[str], trust: bool) -> _Model:
    values = with_overrides(read_yaml(run / "settings.yaml"), overrides)
    config = validated(EnhancerTrainConfig, values, str(run / "settings.yaml"))
    require_current(run, [ENHANCER], known_of(run), trust)
    network, spec = load_model(run / ENHANCER)
    pool: Any = zarr.open_group(run / "probabilities" / "pool.zarr", mode="r")
    kept = pool["validation"]["maps"]
    maps = (kept[n, 0, :1] for n in range(kept.shape[0]))
    sample = max(maps, key=np.std).astype(np.float32) / 255  # an empty one would test nothing
    score = spec.record.get("training", {}).get("best_score", -1)
    measured = f"On held-out source images: Dice {score:.3f}." if score > 0 else ""
    companion = load_model(run / ENHANCER / WITH_RAW) if config.enhancer.raw else None
    return _Model(network, spec, config.package, config.classes, _cut(sample), companion, measured=measured)


def _of_labelled(run: Path, overrides: Sequence[str], trust: bool) -> _Model:
    values = with_overrides(read_yaml(run / "settings.yaml"), overrides)
    config = validated(TrainConfig, values, str(run / "settings.yaml"))
    require_current(run, [LABELLED_NET], known_of(run), trust)
    config, images = open_labelled(config, known_of(run))
    return _labelled(*load_model(run / LABELLED_NET), config, images)


def _labelled(network: nn.Module, spec: ModelSpec, config: TrainConfig, images: LabelledImages) -> _Model:
    image = images.validation[0].raw
    score = spec.record.get("training", {}).get("best_score", -1)
    measured = f"On held-out labelled images: Dice {score:.3f}." if score > 0 else ""
    sample = _cut(image.read().astype(np.float32)[None])
    return _Model(network, spec, config.package, config.classes, sample, None, image.dtype, measured)


def _of_target(run: Path, step: str | None, overrides: Sequence[str], trust: bool) -> _Model:
    config = _adapt_config(run, overrides)
    name = _network_of(run, config, step)
    require_current(run, [name], known_of(run), trust)
    if name == ENHANCED and came_as_package(run):
        raise InputError(
            f"{run}: its enhancer came as a package; give that package to others, or run adapt with "
            "--segmentor and export the segmentor"
        )
    if name == ENHANCED and len(given_enhancers(config)) > 1:
        raise InputError(
            f"{run}: there is an enhancer for each of several classes; export each from where it was trained"
        )
    network, spec = load_model(run / (ENHANCER if name == ENHANCED else name))
    measured = _held_out_score(run, name)
    known = known_of(run)
    target = open_target(config, trust, known, kept_enhancers(run, config, known))
    image = target.images[0]
    if spec.kind == "enhancer":
        sample = image.split(read_map(map_path(run / FOREST, image))[0])[0][1:2]
        companion = load_companion(run / ENHANCER)
        return _Model(
            network, spec, config.package, config.classes, _cut(sample), companion, measured=measured
        )
    raw = image.parts[0].read()
    sample = raw.astype(np.float32).reshape(-1, *raw.shape[-spec.ndim :])
    return _Model(
        network, spec, config.package, config.classes, _cut(sample), None, image.whole.dtype, measured
    )


def _network_of(run: Path, config: AdaptConfig, step: str | None) -> str:
    """The result whose network is wanted."""
    without = (FOREST, SOURCE_NET)  # the source net belongs to the enhancer's run, and normalises each image
    names = [name for name in made(run, candidate_names(config)) if name not in without]
    segmentors = [name for name in names if name.startswith("segmentor")]
    if step is None or (step == "segmentor" and segmentors):
        return (segmentors or [ENHANCED])[0]
    if step not in names:
        raise InputError(f"{run}: {step} is no network to export; give one of {', '.join(names)}")
    return step


def _held_out_score(run: Path, name: str) -> str:
    """How well a result meets the strokes that it has not learned from, as `adapt` found out."""
    if not (run / PREDICTION / CHOICE).is_file():
        return ""
    choice = read_json(run / PREDICTION / CHOICE)
    score = choice["scores"].get(name)
    if score is None or not any(choice["held_out_strokes"].values()):
        return ""
    accuracy, low, high = (f"{score[name]:.3f}" for name in ("accuracy", "low", "high"))
    return (
        f"On {sum(choice['held_out_strokes'].values())} held-out strokes of the images it was adapted to: "
        f"balanced accuracy {accuracy} (95 % interval {low} to {high}). "
        "Strokes lie in the middle of things, so this says little about borders."
    )


def _cut(sample: np.ndarray) -> np.ndarray:
    side = _SIDE[sample.ndim - 1]
    return sample[(slice(None), *(slice(0, side) for _ in sample.shape[1:]))]


def _adapt_config(run: Path, overrides: Sequence[str]) -> AdaptConfig:
    if command_of(run) != "adapt":
        raise InputError(f"{run}: no run of enhancer-train, adapt or train here; give one")
    values = with_overrides(read_yaml(run / "settings.yaml"), overrides)
    return validated(AdaptConfig, values, str(run / "settings.yaml"))


def _info(model: _Model) -> PackageInfo:
    settings = model.settings
    missing = [name for name in ("authors", "licence") if not getattr(settings, name)]
    if missing:
        raise InputError(
            f"package.{missing[0]} is missing; state it, e.g. --set 'package.authors=[{{name: Ada L.}}]' "
            "--set package.licence=CC-BY-4.0"
        )
    title = settings.title or str(model.spec.metadata.get("name", f"shallow2deep {model.spec.kind}"))
    return PackageInfo(
        name=title,
        description=settings.description,
        authors=settings.authors,
        licence=settings.licence or "",
        cite=settings.cite,
        tags=(f"{model.spec.ndim}d", "semantic-segmentation", "pytorch", "unet", *settings.tags),
        documentation=_card(title, model),
        git_repo=settings.git_repo,
        record={"classes": list(model.classes)},
    )


def _card(title: str, model: _Model) -> str:
    """The documentation: what it is, what it takes, how it was made and how well it does."""
    spec, record = model.spec, model.spec.record
    structure = ", ".join(model.classes[1:])
    takes = {
        "enhancer": f"the probability map of {structure} by a random forest on image filters, in 0..1",
        "segmentor": "raw images in the range that it was trained on; it normalises them itself",
    }[spec.kind]
    training = record.get("training", {})
    lines = [
        f"# {title}",
        "",
        model.settings.description,
        "",
        f"- takes: {takes}",
        f"- gives: {', '.join(output.title for output in spec.outputs)}, probabilities in 0..1",
        f"- pixel size of the training data, nm: {_or_unknown(spec.voxel_size)}",
        f"- network: {spec.layers.in_words} in {spec.ndim}D, {spec.features} features, {len(spec.strides)} "
        f"poolings, stem of stride {spec.stem[0]}; {training.get('step', 'an unknown number of')} steps"
        f"{'; ' + training['ended'] if 'ended' in training else ''}",
    ]
    if not spec.layers.is_local:
        lines.append(
            "- results depend on the size of the tiles: its layers see statistics of the whole tile, so "
            "other programs and other tiles give somewhat other maps"
        )
    if model.companion is not None:
        lines.append(
            "- companion: such a network with raw as a second channel, which shallow2deep applies, too, and "
            "other programs overlook"
        )
    if licences := spec.metadata.get("data_licences"):
        lines += ["", "## Terms of the training data", ""]
        lines += [f"- {licence}" for licence in licences]
    scores = [text for text in (model.settings.validation.strip(), model.measured) if text]
    lines += ["", "## Validation", "", "\n\n".join(scores) or "No scores are stated."]
    lines += ["", "## Use", "", _USES[spec.kind]]
    return "\n".join(lines) + "\n"


_USES = {
    "enhancer": "In ilastik: Trainable Domain Adaptation; paint, train, and load this package as network. "
    "In shallow2deep: `s2d adapt --enhancer FILE`.",
    "segmentor": "In ilastik: Neural Network Classification. It was adapted to one kind of image, and is "
    "meant for that.",
}


def _or_unknown(value: object) -> object:
    return "not stated" if value is None else value


def _cover(model: _Model) -> np.ndarray:
    """What goes in beside what comes out, uint8 `(y, x)`."""
    sample = model.sample[..., :512, :512]
    if model.spec.kind == "enhancer":
        shown, p = sample[0], predict_with_network(model.network, sample)[0]
    else:
        raw = sample if len(sample) > 1 else sample[0]
        p = predict_raw(model.network, model.spec, raw)[0]
        low, high = np.percentile(sample, (0.5, 99.5))
        shown = ((sample.mean(0) - low) / max(high - low, 1e-6)).clip(0, 1)
    if model.spec.ndim == 3:
        shown, p = (one[len(one) // 2] for one in (shown, p))
    return np.round(np.concatenate([shown, p], 1) * 255).astype(np.uint8)
