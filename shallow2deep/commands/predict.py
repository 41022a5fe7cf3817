"""`s2d predict`: applies what a run has made to further images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from joblib import effective_n_jobs

from shallow2deep.commands.predict_blocks import known_of_unfinished, predict_in_blocks
from shallow2deep.commands.status import require_current
from shallow2deep.errors import InputError
from shallow2deep.inference.intensity import Intensities, compare_with_learned
from shallow2deep.inference.runners import Workplace, workplace
from shallow2deep.inference.windows import Overlap
from shallow2deep.inputs.images import Image, open_images, refuse_overwriting, require_writable
from shallow2deep.inputs.labelled_images import LABELLED_NET
from shallow2deep.inputs.models import OpenedEnhancer, given_enhancers, open_enhancer
from shallow2deep.inputs.results import (
    FOREST,
    ImagePredictor,
    candidate_names,
    image_predictor,
    made,
    mixed_predictor,
    network_predictor,
)
from shallow2deep.inputs.start_weights import PRETRAINED_NET
from shallow2deep.io.atomic import one_writer, read_json
from shallow2deep.io.disk_map import Map
from shallow2deep.io.formats import ENDINGS as READABLE
from shallow2deep.io.formats import split_name
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import ENDINGS, write_complete
from shallow2deep.io.remote import is_remote
from shallow2deep.networks.devices import choose_device
from shallow2deep.networks.model import ModelSpec, load_model, load_spec
from shallow2deep.progress import Bar, Watch, watched
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.settings import AdaptConfig, PredictData, RawData, absolute_names, read_yaml, validated
from shallow2deep.stages.prediction import CHOICE, PREDICTION

RECOMMENDED = "recommended"


def predict(
    model: str | Path,
    raw: str | Path | RawData,
    out: str | Path,
    step: str = RECOMMENDED,
    device: str = "auto",
    trust: bool = False,
    rescale: bool = False,
    overlap: int | None = None,
    border_weight: float = 0.1,
    processes: int | None = None,
    cluster: str | None = None,
) -> list[Path]:
    """Predicts images with a finished adaptation or training, or with a segmentor or source net.

    Args:
        model: a run of `adapt` or `train`, or a folder with a segmentor or source net.
        raw: the images, by name (`file.h5:key`, `folder/*.png` …) or with axes, slices and so on; of
            `PredictData` also with the channels to use, otherwise those that were learned on.
        out: a file ending in .h5, .zarr or .tif for one image; else a folder, which gets a .h5 file for each.
        step: of an adaptation: "recommended", "forest", "enhanced", "segmentor" (the first one), or the name
            of any of its candidates' folders.
        trust: whether Python code in the enhancer's package may be run, if it needs that.
        rescale: whether images are shifted and scaled to the range of values that the forest or network has
            learned on; otherwise those far outside are refused.
        overlap: if given, pixels that windows share, whose weighted mean is taken, in place of blocks with a
            halo, which give what the whole image at once gives; see `Windows`.
        border_weight: how much the half of these pixels count that is nearer to a window's border, 0 to 1.
        processes: of one image into a .zarr: how many processes work on its blocks, in place of threads.
        cluster: likewise, the dask cluster whose workers do so, see `Dask`.

    One image into a .zarr is predicted with nothing whole in memory, and goes on where it was killed; but not
    with `overlap`, nor volumes of a forest in 3D by an enhancer in 2D.

    Returns:
        The files written: float32 `(C, [z,] y, x)` each; the background first, then the other classes, which
        make up 1 with it, then boundaries.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    data = raw if isinstance(raw, RawData) else RawData(raw=(str(raw),))
    out = _file_here(out)
    if cluster is not None:  # workers may have started in other folders
        names = absolute_names({"raw": data.raw}, Path.cwd())["raw"]
        data, out = data.model_copy(update={"raw": tuple(names)}), Path(out).absolute()
    bar = Bar()
    windows = None if overlap is None else Overlap(overlap, border_weight)
    how, channels = predictor_of(Path(model), step, device, trust, bar, windows)
    if isinstance(data, PredictData) and data.channels is not None:
        channels = data.channels
    blocks = how.plan is not None and windows is None and Path(out).suffix.lower() == ".zarr"
    place = _workplace(blocks, processes, cluster)
    known = known_of_unfinished(Path(out)) if blocks else None
    images = open_images(data, how.ndim, channels, known, not blocks)
    targets = _targets(Path(out), images)
    if how.learned is not None and not rescale:
        found = [(str(image.file), facts.intensities) for image in images for facts in image.facts]
        compare_with_learned(found, how.learned, "the forest or network")
    apply = partial(_rescaled, how) if rescale else how.apply
    pairs = list(zip(images, targets, strict=True))
    with writing(targets):
        if known is not None:
            predict_in_blocks(images[0], how, targets[0], rescale, place, known, bar)
            return targets
        for image, target in watched(pairs, len(pairs), "predicting", bar):
            p = image.predict(apply, how.ndim)
            write_complete(target, p, how.outputs, how.background, image.voxel_size)
    return targets


def _file_here(out: str | Path) -> str | Path:
    """A .zarr by its path, without ~ and file://; other results are named as they are written.

    Raises:
        InputError: it is an address.
    """
    if is_remote(out):
        raise InputError(f"{out}: results are written to files here; give a file or a folder")
    path, inner = split_name(str(out))
    return path if inner is None and path.suffix.lower() == ".zarr" else out


def _workplace(blocks: bool, processes: int | None, cluster: str | None) -> Workplace:
    if not blocks and (processes is not None or cluster is not None):
        raise InputError(
            "--processes and --cluster are for one image into a .zarr, without --overlap, not for volumes "
            "of a forest in 3D by an enhancer in 2D; leave them out, or give --out NAME.zarr"
        )
    return workplace(effective_n_jobs(-1), processes, cluster)


@contextmanager
def writing(targets: Sequence[Path]) -> Iterator[None]:
    """Keeps other processes from writing to the same places meanwhile.

    Raises:
        RunBusyError: another one does so now.
    """
    folder = targets[0].parent
    with one_writer(folder, targets[0].name if len(targets) == 1 else ""):
        yield


def _rescaled(how: ImagePredictor, raw: np.ndarray) -> Map:
    """The map of raw that is brought to the range that was learned on."""
    if how.learned is not None:
        raw = Intensities.of(raw, how.ndim).brought_to(how.learned, raw, how.ndim)
    return how.apply(raw)


def _targets(out: Path, images: list[Image]) -> list[Path]:
    if split_name(str(out))[0].suffix.lower() in ENDINGS:
        if len(images) > 1:
            raise InputError(f"{len(images)} images cannot go into the one file {out}; give a folder")
        targets = [out]
    elif out.suffix.lower() in READABLE:
        raise InputError(f"{out}: results are written as {', '.join(ENDINGS)}; give such a name, or a folder")
    else:
        targets = [out / f"{image.name}.h5" for image in images]
    refuse_overwriting(targets, [image.file for image in images])
    require_writable(targets)
    return targets


def predictor_of(
    model: Path,
    step: str = RECOMMENDED,
    device_name: str = "auto",
    trust: bool = False,
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> tuple[ImagePredictor, str | Sequence[str | int]]:
    """How images are predicted, and the channels of raw that were learned on; see `predict`."""
    device = choose_device(device_name)
    if command_of(model) == "train":
        require_current(model, [LABELLED_NET], known_of(model), trust)
        model = model / LABELLED_NET
    if (model / "model.json").is_file():
        load_spec(model).layers.allow(trust)
        network, spec = load_model(model)
        if spec.kind == PRETRAINED_NET:
            raise InputError(
                f"{model} only restores images; train a network with it as weights, and give that"
            )
        if spec.kind == "enhancer":
            raise InputError(f"{model} is an enhancer, which needs a forest's map; give a run of adapt")
        return network_predictor(network, spec, device, watch, overlap), _learned_channels(spec)
    if command_of(model) != "adapt":
        raise InputError(f"{model}: no run of adapt or train and no model here; give one of them")
    config = validated(AdaptConfig, read_yaml(model / "settings.yaml"), str(model / "settings.yaml"))
    known = known_of(model)
    of_classes = chosen(model, config, known, trust) if step == RECOMMENDED else {}
    names = list(dict.fromkeys(of_classes.values() or [candidate(model, step, config)]))
    require_current(model, names, known, trust)
    enhancers = _own_enhancers(model, config, trust, known)
    parts = {name: image_predictor(model, name, config, device, enhancers, watch, overlap) for name in names}
    if len(parts) == 1:
        return next(iter(parts.values())), config.target.channels
    mixed = mixed_predictor({name: parts[result] for name, result in of_classes.items()})
    return mixed, config.target.channels


def _learned_channels(spec: ModelSpec) -> str | Sequence[str | int]:
    """As a segmentor's record has them; of others, grey or all by their number."""
    channels = spec.record.get("channels")
    if isinstance(channels, list) and channels and all(isinstance(one, str | int) for one in channels):
        return tuple(channels)
    return "grey" if spec.in_channels == 1 else "each"


def _own_enhancers(run: Path, config: AdaptConfig, trust: bool, known: Known) -> list[OpenedEnhancer]:
    stages = [given.stage for given in given_enhancers(config)]
    if missing := [stage for stage in stages if not (run / stage).is_dir()]:
        raise InputError(f"{run}: its stage {missing[0]} is not finished; run the same adapt again first")
    return [open_enhancer(run / stage, trust, known) for stage in stages]


def chosen(run: Path, config: AdaptConfig, known: Known, trust: bool) -> dict[str, str]:
    """For each foreground class the name of the result that is recommended."""
    if not (run / PREDICTION / "manifest.json").is_file():
        raise InputError(f"{run}: nothing is recommended yet; run the same adapt again first")
    require_current(run, [PREDICTION], known, trust)
    choice = read_json(run / PREDICTION / CHOICE)["of_classes"]
    return {name: str(choice[name]["recommended"]) for name in config.classes[1:]}


def candidate(run: Path, step: str, config: AdaptConfig) -> str:
    """The name of a candidate's folder."""
    known = made(run, candidate_names(config))
    segmentors = [name for name in known if name.startswith("segmentor")]
    name = {"forest": FOREST, "segmentor": segmentors[0] if segmentors else ""}.get(step, step)
    if name not in known:
        raise InputError(
            f"{run}: {step} is none of its results; give {RECOMMENDED}, forest, {', '.join(known[1:])}"
        )
    return name
