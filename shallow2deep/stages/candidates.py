"""The results that an adaptation has to choose from: forest, enhancer, segmentors and baselines."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from shallow2deep.config import AdaptConfig
from shallow2deep.forests import Forest, predict_probabilities
from shallow2deep.inference.network import predict_with_network
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import ModelSpec, load_model
from shallow2deep.networks.unet import UNet
from shallow2deep.stages.enhanced import enhance, enhanced_channels
from shallow2deep.stages.images import Image, map_path
from shallow2deep.stages.probabilities import Moments
from shallow2deep.stages.target import load_enhancer

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


def predictor(run: Path, name: str, config: AdaptConfig, device: torch.device) -> tuple[Predict, list[str]]:
    """The function from raw `(y, x)` to a candidate's channels, and their names."""
    if name not in (FOREST, ENHANCED):
        network, spec = load_model(run / name)
        return partial(predict_raw, network, spec, device=device), list(spec.outputs)
    forest = Forest.load(run / FOREST / "forest.npz")
    to_map = partial(predict_probabilities, forest, device=str(device), engine=config.engine)
    if name == FOREST:
        return to_map, list(config.classes)
    enhancer, spec = load_enhancer(run / ENHANCED)
    return (
        lambda raw: enhance(enhancer, to_map(raw), config.enhanced.block, device),
        enhanced_channels(config.classes, spec),
    )


def predict_raw(network: UNet, spec: ModelSpec, raw: np.ndarray, device: torch.device) -> np.ndarray:
    """A raw image through a segmentor or source net, with the normalisation it was trained with."""
    moments = Moments.of(raw) if spec.normalisation is None else Moments(*spec.normalisation)
    return predict_with_network(network, moments.standardised(raw)[None], device=device)
