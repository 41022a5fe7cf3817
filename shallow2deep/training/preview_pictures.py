"""Pictures of images of the user's own while a network trains."""

from collections.abc import Mapping
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import nn

from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.io.atomic import write_bytes

FOLDER = "previews"


def draw_previews(
    folder: Path, images: Mapping[str, np.ndarray], network: nn.Module, step: int, device: torch.device
) -> list[Path]:
    """Writes `previews/NAME_step….png` for each image: its channels and, beside them, the network's maps.

    Args:
        folder: the training's.
        images: float32 `(C, *spatial)`, as the network takes them; of volumes the middle plane is drawn.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    written = []
    for name, image in images.items():
        given = [_stretched(_middle(channel)) for channel in image]
        maps = [_middle(channel) for channel in predict_with_network(network, image, device=device)]
        pixels = (np.concatenate([*given, *maps], 1).clip(0, 1) * 255).astype(np.uint8)
        path = folder / FOLDER / f"{name}_step{step:07d}.png"
        write_bytes(path, iio.imwrite("<bytes>", pixels, extension=".png"))
        written.append(path)
    return written


def _middle(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else image[len(image) // 2]


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (0.5, 99.5))
    return (image - low) / max(high - low, 1e-6)
