"""Applies a network to images of any size, block by block, with the result of the whole image at once."""

import numpy as np
import torch
from torch import nn

from shallow2deep.blocks import blocks


def predict_with_network(
    network: nn.Module,
    image: np.ndarray,
    block: tuple[int, ...] = (1024, 1024),
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Probabilities of a network's outputs.

    Beyond the border the image is mirrored. Blocks start at multiples of the network's step, so that
    pooling meets the same pixels in every block as in the whole image.

    Args:
        network: gives logits, and has `step` and `halo` as `UNet` has.
        image: float32 `(C, y, x)`, normalised as the network expects.
        block: pixels per axis that are predicted at a time; rounded up to the network's step.

    Returns:
        float32 `(K, y, x)` in 0..1.
    """
    network = network.to(device).eval()
    halo, step = int(network.halo), int(network.step)  # type: ignore[arg-type]
    size = image.shape[1:]
    inner = [-(-b // step) * step for b in block]
    margins = [(halo, halo + -n % step) for n in size]
    padded = np.pad(image, [(0, 0), *margins], mode="reflect")
    out: np.ndarray | None = None
    rounded = [n + -n % step for n in size]
    for part in blocks(rounded, inner, [0] * len(size)):
        window = tuple(slice(s.start, s.stop + 2 * halo) for s in part.inner)
        x = torch.from_numpy(np.ascontiguousarray(padded[(slice(None), *window)]))[None]
        with torch.inference_mode():
            p = torch.sigmoid(network(x.to(device)))[0].float().cpu().numpy()
        if out is None:
            out = np.empty((len(p), *rounded), np.float32)
        out[(slice(None), *part.inner)] = p[(slice(None), *[slice(halo, -halo)] * len(size))]
    assert out is not None
    return np.ascontiguousarray(out[(slice(None), *(slice(0, n) for n in size))])
