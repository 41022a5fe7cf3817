"""Training without labels: images are hidden in part, or made worse, and a network restores them.

Targets are float32 `(n, C + 1, *spatial)`: the images as they were, and the weight of each pixel in the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from shallow2deep.settings import HidingSettings
from shallow2deep.training.objectives import Forward
from shallow2deep.training.validation import Judged, Sample, Samples, batches, side_by_side, stacked

_WINDOW = 7  # of SSIM, pixels
_SHORTEST = 3  # pixels


def hide(images: Tensor, settings: HidingSettings, cell: Sequence[int], random: Generator) -> Sample:
    """Images as the network sees them, and the weights `(n, 1, *spatial)` of what it is to restore.

    Args:
        images: float32 `(n, C, *spatial)`, standardised.
        cell: sides of the cells of `masking`, pixels.
        random: on the images' device; decides on everything.
    """
    if settings.task == "masking":
        hidden = hidden_cells(images, cell, settings.share, random)
        return images.masked_fill(hidden, 0), hidden.float()
    return made_worse(images, settings, random), torch.ones_like(images[:, :1])


def hidden_cells(images: Tensor, cell: Sequence[int], share: float, random: Generator) -> Tensor:
    """Which pixels are hidden, bool `(n, 1, *spatial)`: the same number of cells of a grid in each image.

    As in masked autoencoders (He et al. 2022, arXiv 2111.06377), where at least one cell stays.
    """
    size = images.shape[2:]
    grid = [-(-n // side) for n, side in zip(size, cell, strict=True)]
    count = int(np.prod(grid))
    order = torch.rand((len(images), count), generator=random, device=images.device).argsort(1).argsort(1)
    hidden = (order < min(max(round(share * count), 1), max(count - 1, 1))).view(len(images), 1, *grid)
    for axis, side in enumerate(cell, 2):
        hidden = hidden.repeat_interleave(side, axis)
    for axis, n in enumerate(size, 2):
        hidden = hidden.narrow(axis, 0, n)
    return hidden


def made_worse(images: Tensor, settings: HidingSettings, random: Generator) -> Tensor:
    """Coarser in the plane, with noise, each image in its own way."""

    def drawn(shape: Sequence[int]) -> Tensor:
        return torch.rand(shape, generator=random, device=images.device)

    found = []
    for image in images:
        planes = image.reshape(-1, 1, *image.shape[-2:])
        factor = 1 + int(drawn(()) * settings.downsampling)
        coarse = avg_pool2d(planes, factor, ceil_mode=True)
        noise = torch.randn(coarse.shape, generator=random, device=images.device)
        coarse = coarse + noise * settings.noise * drawn(())
        fine = interpolate(coarse, scale_factor=factor, mode="bilinear") if factor > 1 else coarse
        found.append(fine[..., : image.shape[-2], : image.shape[-1]].reshape(image.shape))
    return torch.stack(found)


class Restoring:
    """Mean squared error of the pixels that count; nothing is remembered."""

    def loss(self, network: nn.Module, forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        images, weight = targets[:, :-1], targets[:, -1:]
        errors = (forward(network, inputs) - images) ** 2 * weight
        return errors.sum() / (weight.sum() * images.shape[1]).clamp(min=1)

    def after_step(self, network: nn.Module) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def restored_well(predict: Callable[[Tensor], Tensor], samples: Samples, size: int) -> Judged:
    """PSNR of the pixels that count, which decides, and mean SSIM of the images with all else as it was.

    `psnr_before` is that of what the network is given. The range of values is that of all samples.
    """
    given, truth, counted, found = ([] for _ in range(4))  # type: ignore[var-annotated]
    for numbers in batches(samples, size):
        inputs, targets = stacked(samples, numbers)
        given += inputs.unbind()
        truth += targets[:, :-1].unbind()
        counted += (targets[:, -1:] > 0).expand_as(inputs).unbind()
        found += predict(inputs).unbind()
    span = float(max(t.max() for t in truth) - min(t.min() for t in truth)) or 1.0
    shown = [torch.where(c, p, t) for c, p, t in zip(counted, found, truth, strict=True)]
    pairs = [
        (a.numpy(), b.numpy()) for t, s in zip(truth, shown, strict=True) for a, b in zip(t, s, strict=True)
    ]
    psnr = _psnr(truth, found, counted, span)
    scores = {
        "psnr": psnr,
        "psnr_before": _psnr(truth, given, counted, span),
        "ssim": float(np.mean([_ssim(a, b, span) for a, b in pairs])),
    }
    return Judged(scores, max(psnr, 0.0), side_by_side([truth[0][0], given[0][0], found[0][0], shown[0][0]]))


def _psnr(truth: list[Tensor], found: list[Tensor], counted: list[Tensor], span: float) -> float:
    from skimage.metrics import peak_signal_noise_ratio  # slow to import

    a, b = (
        torch.cat([image[mask] for image, mask in zip(images, counted, strict=True)]).numpy()
        for images in (truth, found)
    )
    return float(peak_signal_noise_ratio(a, b, data_range=span))


def _ssim(a: np.ndarray, b: np.ndarray, span: float) -> float:
    """Where an axis is too short for a window, the mean of its planes."""
    from skimage.metrics import structural_similarity  # slow to import

    axis = int(np.argmin(a.shape))
    if a.shape[axis] < _SHORTEST and a.ndim > 1:
        planes = zip(np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0), strict=True)
        return float(np.mean([_ssim(one, other, span) for one, other in planes]))
    window = min(_WINDOW, *(n - 1 + n % 2 for n in a.shape))
    return float(structural_similarity(a, b, win_size=window, data_range=span))
