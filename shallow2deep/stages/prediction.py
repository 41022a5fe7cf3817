"""Applies what a run has made to further images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from shallow2deep.config import AdaptConfig, RawData, read_yaml, validated
from shallow2deep.errors import InputError
from shallow2deep.forests import Forest, predict_probabilities
from shallow2deep.inference.network import predict_with_network
from shallow2deep.io.formats import split_name
from shallow2deep.io.write import ENDINGS, write_probabilities
from shallow2deep.networks.model import load_model
from shallow2deep.progress import progress_bar
from shallow2deep.stages.enhanced import enhance, enhanced_channels
from shallow2deep.stages.images import Image, open_images
from shallow2deep.stages.probabilities import Moments
from shallow2deep.stages.runs import command_of
from shallow2deep.stages.target import load_enhancer
from shallow2deep.training.devices import choose_device

Step = Literal["forest", "enhanced"]
Predict = Callable[[np.ndarray], np.ndarray]


def predict(
    model: str | Path,
    raw: str | Path | RawData,
    out: str | Path,
    step: Step = "enhanced",
    device: str = "auto",
) -> list[Path]:
    """Predicts images with a finished adaptation, or with a source net.

    Args:
        model: a run of `adapt`, or a folder with a source net.
        raw: the images, by name (`file.h5:key`, `folder/*.png` …) or with axes, slices and so on.
        out: a file ending in .h5, .zarr or .tif for one image; else a folder, which gets a .h5 file for each.
        step: of an adaptation: the forest's map or the enhanced one.

    Returns:
        The files written: float32 `(C, [z,] y, x)` each.

    Raises:
        InputError: anything that cannot be used, before any work.
    """
    data = raw if isinstance(raw, RawData) else RawData(raw=(str(raw),))
    apply, channels, ndim = _predictor(Path(model), step, device)
    images = open_images(data, ndim)
    targets = _targets(Path(out), images)
    for image, target in zip(progress_bar(images, desc="predicting"), targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_probabilities(target, image.predict(apply), channels, image.voxel_size)
    return targets


def _targets(out: Path, images: list[Image]) -> list[Path]:
    if split_name(str(out))[0].suffix.lower() in ENDINGS:
        if len(images) > 1:
            raise InputError(f"{len(images)} images cannot go into the one file {out}; give a folder")
        targets = [out]
    else:
        targets = [out / f"{image.name}.h5" for image in images]
    inputs = [image.file.resolve() for image in images]
    for target in targets:
        file = split_name(str(target))[0].resolve()
        if hit := [path for path in inputs if path in (file, *file.parents) or file in path.parents]:
            raise InputError(f"{target} would overwrite the raw data {hit[0]}; give another --out")
    return targets


def _predictor(model: Path, step: Step, device_name: str) -> tuple[Predict, list[str], int]:
    """The function from raw to probabilities, its channels' names, and the images' number of dimensions."""
    device = choose_device(device_name)
    if (model / "model.json").is_file():
        network, spec = load_model(model)
        if spec.kind != "source_net":
            raise InputError(f"{model} is an {spec.kind}, which needs a forest's map; give a run of adapt")
        return (
            lambda raw: predict_with_network(network, Moments.of(raw).standardised(raw)[None], device=device),
            list(spec.outputs),
            2,
        )
    if command_of(model) != "adapt":
        raise InputError(f"{model}: no run of adapt and no model here; give one of them")
    config = validated(AdaptConfig, read_yaml(model / "settings.yaml"), str(model / "settings.yaml"))
    for stage in ("target_forest", "enhanced"):
        if not (model / stage / "manifest.json").is_file():
            raise InputError(f"{model}: its stage {stage} is not finished; run the same adapt again first")
    forest = Forest.load(model / "target_forest" / "forest.npz")
    to_map = partial(predict_probabilities, forest, device=str(device), engine=config.engine)
    if step == "forest":
        return to_map, list(config.classes), config.ndim
    network, spec = load_enhancer(model / "enhanced")
    return (
        lambda raw: enhance(network, to_map(raw), config.enhanced.block, device),
        enhanced_channels(config.classes, spec),
        config.ndim,
    )
