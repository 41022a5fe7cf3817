"""The results that an adaptation has to choose from: forest, enhancer, segmentors and baselines."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from shallow2deep.settings import AdaptConfig
from shallow2deep.errors import InputError
from shallow2deep.forests import Forest, predict_probabilities
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.networks.unet import UNet
from shallow2deep.stages.enhanced import enhance, enhanced_channels
from shallow2deep.inputs.images import Image, map_path
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.runs.parallel import threads_each
from shallow2deep.stages.probabilities import Moments

Predict = Callable[[np.ndarray], np.ndarray]

FOREST, ENHANCED, SOURCE_NET, STROKES_NET, SUPERVISED = (
    "target_forest",
    "enhanced",
    "source_net",
    "strokes_net",
    "supervised",
)
SKIPPED = "skipped.json"  # in the folder of a round that was not needed


def candidate_names(config: AdaptConfig) -> list[str]:
    """The names of the candidates' stages, simplest first."""
    names = [FOREST, ENHANCED]
    if config.segmentor is not None:
        names += [
            segmentor_name(variant, number)
            for variant in config.segmentor.variants
            for number in range(1, config.segmentor.rounds + 1)
        ]
    asked = {
        SOURCE_NET: config.compare.source_net,
        STROKES_NET: config.compare.strokes_net,
        SUPERVISED: config.compare.supervised,
    }
    return names + [name for name, wanted in asked.items() if wanted]


def segmentor_name(variant: str, number: int = 1) -> str:
    return f"segmentor-{variant}" if number == 1 else f"segmentor-{variant}-{number}"


def made(run: Path, names: list[str]) -> list[str]:
    """Those of the candidates that were not skipped."""
    return [name for name in names if not (run / name / SKIPPED).exists()]


def foreground_maps(run: Path, name: str, image: Image, n_classes: int) -> list[np.ndarray]:
    """A candidate's maps of the foreground classes, float32 `(C - 1, y, x)` for each part of an image."""
    maps = image.split(open_volume(map_path(run / name, image)).read())
    return [foreground_of(p, name, n_classes) for p in maps]


def foreground_of(p: np.ndarray, name: str, n_classes: int) -> np.ndarray:
    """The foreground classes' channels of what a candidate's stage writes."""
    if name == FOREST:
        return p[1:]
    outputs = len(p) // (n_classes - 1)  # a class stands behind its boundary
    return p[outputs - 1 :: outputs]


@dataclass(frozen=True)
class Predictor:
    """How a candidate predicts images.

    Attributes:
        apply: from raw `([C,] *spatial)` to `(K, *spatial)`.
        outputs: names of the K channels.
        ndim: spatial axes of what it is applied to; 3 where the forest's features are 3D.
    """

    apply: Predict
    outputs: list[str]
    ndim: int = 2


def predictor(
    run: Path, name: str, config: AdaptConfig, device: torch.device, trust: bool = False
) -> Predictor:
    """Of a candidate's finished stage.

    Raises:
        InputError: its forest was not there, as maps made elsewhere took its place.
    """
    if name not in (FOREST, ENHANCED):
        network, spec = load_model(run / name)
        return Predictor(partial(predict_raw, network, spec, device=device), list(spec.outputs))
    if config.target.probabilities:
        raise InputError(
            f"{run}: the maps of its images were made elsewhere, so there is no forest for others; "
            "make their maps there, too, and give them to adapt as probabilities"
        )
    forest = Forest.load(run / FOREST / "forest.npz")
    to_map = partial(
        predict_probabilities,
        forest,
        device=str(device),
        engine=config.engine,
        threads=threads_each(config.jobs),
    )
    if name == FOREST:
        return Predictor(to_map, list(config.classes), forest.spec.ndim)
    enhancer, model = load_enhancer(run / ENHANCED, trust)

    def enhanced(raw: np.ndarray) -> np.ndarray:
        p = to_map(raw)
        if p.ndim == 3:
            return enhance(enhancer, p, config.enhanced, device)
        planes = [enhance(enhancer, p[:, z], config.enhanced, device) for z in range(p.shape[1])]
        return np.stack(planes, 1)

    return Predictor(enhanced, enhanced_channels(config.classes, model), forest.spec.ndim)


def predict_raw(network: UNet, spec: ModelSpec, raw: np.ndarray, device: torch.device) -> np.ndarray:
    """A raw image `([C,] y, x)` through a segmentor or source net, normalised as in its training."""
    moments = Moments.of(raw) if spec.normalisation is None else Moments(*spec.normalisation)
    channels = raw if raw.ndim == 3 else raw[None]
    if len(channels) != spec.in_channels:
        raise InputError(
            f"raw with {len(channels)} channels came, but this {spec.kind} takes {spec.in_channels}; "
            "give such images"
        )
    return predict_with_network(network, moments.standardised(channels), device=device)
