"""Stage *enhanced*: the forest's probability maps, corrected by the enhancer."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from shallow2deep.settings import AdaptConfig, EnhancedSettings
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.networks.unet import UNet
from shallow2deep.progress import progress_bar
from shallow2deep.runs.engine import Stage, after, check_stop
from shallow2deep.inputs.images import map_path, save_map
from shallow2deep.inputs.models import COPY, load_enhancer
from shallow2deep.inputs.target import Target
from shallow2deep.networks.devices import choose_device


def enhanced_stage(config: AdaptConfig, target: Target, forest: Stage, run: Path) -> Stage:
    settings = config.enhanced
    device = choose_device(settings.device)

    def work(folder: Path) -> None:
        network, model = load_enhancer(target.enhancer, target.trust)
        _keep(folder, target.enhancer, network, model)
        for image in progress_bar(target.images, desc="enhanced maps"):
            if map_path(folder, image).exists():
                continue
            check_stop()
            maps = image.split(open_volume(map_path(run / "target_forest", image)).read())
            p = image.join(enhance(network, part, settings, device) for part in maps)
            save_map(folder, image, p, enhanced_channels(config.classes, model))

    inputs = {"enhancer": target.enhancer_fingerprint, **after(forest)}
    return Stage("enhanced", settings.model_dump(mode="json", exclude={"device"}), inputs, work)


def _keep(folder: Path, enhancer: Path, network: nn.Module, model: ModelSpec) -> None:
    """A copy of the enhancer, so that the run stays whole when the enhancer's own place goes."""
    if isinstance(network, UNet):
        save_model(folder, network, model)
        return
    with atomic_path(folder / (f"{COPY}.zip" if enhancer.is_file() else COPY)) as copy:
        (shutil.copyfile if enhancer.is_file() else shutil.copytree)(enhancer, copy)


def enhance(
    network: nn.Module, probabilities: np.ndarray, settings: EnhancedSettings, device: torch.device
) -> np.ndarray:
    """Each class but the first through the enhancer, at several scales.

    Which scale fits is not known, as an enhancer has learned how large things are in pixels. A result that
    agrees with the forest's map is more likely to be of the right one: results are averaged with the squared
    Dice of the two maps, as they are, as weights.

    Args:
        probabilities: float32 `(C, y, x)`.

    Returns:
        float32 `((C - 1) * outputs, y, x)`, in the order of `enhanced_channels`.
    """
    maps = []
    for p in probabilities[1:]:
        found = [enhance_at_scale(network, p, scale, settings.block, device) for scale in settings.scales]
        maps.append(weighed_mean(found, p))
    return np.concatenate(maps)


def enhance_at_scale(
    network: nn.Module, p: np.ndarray, scale: float, block: tuple[int, ...], device: torch.device
) -> np.ndarray:
    """A class's map `(y, x)`, resized for the enhancer and back; `(outputs, y, x)`, the foreground last."""
    scaled = tuple(max(1, round(n * scale)) for n in p.shape)
    enhanced = predict_with_network(network, _resized(p[None], scaled), block, device)
    return _resized(enhanced, p.shape)[::-1]


def weighed_mean(found: Sequence[np.ndarray], p: np.ndarray) -> np.ndarray:
    """The mean of enhanced maps `(outputs, y, x)`, weighed by how well each agrees with `p`."""
    if len(found) == 1:
        return found[0]
    weights = [_agreement(one[-1], p) ** 2 for one in found]
    return np.average(found, 0, weights).astype(np.float32)


def _agreement(p: np.ndarray, q: np.ndarray) -> float:
    """Dice of two probability maps, without thresholds; 1 if both are empty."""
    shared, total = (p * q).sum(dtype=np.float64), p.sum(dtype=np.float64) + q.sum(dtype=np.float64)
    return float((2 * shared + 1) / (total + 1))


def _resized(p: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Maps `(K, y, x)` of another size; as they are if they have it."""
    if p.shape[1:] == size:
        return p
    maps = torch.from_numpy(p.copy())[None]
    return (
        interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1).numpy()
    )


def enhanced_channels(classes: Sequence[str], model: ModelSpec) -> list[str]:
    """Names of the enhanced maps' channels; a class stands behind its boundary, last as in a forest's map."""
    return [
        name if output == "foreground" else f"{name} {output}"
        for name in classes[1:]
        for output in reversed(model.outputs)
    ]
