"""Losses on logits; targets in 0..1 may be soft."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Loss = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - soft Dice (Milletari et al. 2016), each channel over the whole batch, averaged over channels.

    Args:
        logits, targets: `(batch, channels, *spatial)`.
    """
    p = torch.sigmoid(logits)
    axes = [0, *range(2, p.ndim)]
    overlap = (p * targets).sum(axes)
    total = (p * p).sum(axes) + (targets * targets).sum(axes)
    return (1 - 2 * overlap / total.clamp(min=1e-6)).mean()


def dice_bce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of Dice loss and binary cross-entropy."""
    return dice_loss(logits, targets) + binary_cross_entropy_with_logits(logits, targets)


LOSSES: dict[str, Loss] = {
    "dice": dice_loss,
    "bce": binary_cross_entropy_with_logits,
    "dice+bce": dice_bce_loss,
}
