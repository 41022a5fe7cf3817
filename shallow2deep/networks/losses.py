"""Losses on logits; targets in 0..1 may be soft."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from shallow2deep.settings import TrainingSettings

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


def tversky_loss(logits: Tensor, targets: Tensor, weights: tuple[float, float] = (0.3, 0.7)) -> Tensor:
    """1 - Tversky index (Salehi et al. 2017, arXiv 1706.05721), each channel over the whole batch.

    Args:
        weights: of false positives and of false negatives; 0.5 and 0.5 give a Dice loss.
    """
    p = torch.sigmoid(logits)
    axes = [0, *range(2, p.ndim)]
    overlap, false_positives = (p * targets).sum(axes), (p * (1 - targets)).sum(axes)
    false_negatives = ((1 - p) * targets).sum(axes)
    total = overlap + weights[0] * false_positives + weights[1] * false_negatives
    return (1 - overlap / total.clamp(min=1e-6)).mean()


def bce_loss(logits: Tensor, targets: Tensor, foreground: Sequence[float] | None = None) -> Tensor:
    """Binary cross-entropy.

    Args:
        foreground: weight of foreground pixels of each channel; 1 if not given.
    """
    return binary_cross_entropy_with_logits(logits, targets, pos_weight=_weights(logits, foreground))


def focal_loss(
    logits: Tensor, targets: Tensor, gamma: float = 2.0, foreground: Sequence[float] | None = None
) -> Tensor:
    """Cross-entropy times (1 - p of the truth)^gamma (Lin et al. 2017, arXiv 1708.02002).

    Args:
        foreground: see `bce_loss`.
    """
    weights = _weights(logits, foreground)
    entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=weights)
    p = torch.sigmoid(logits)
    wrong = p + targets - 2 * p * targets  # 1 - p of the truth; a power of 0 has no gradient where gamma < 1
    return (wrong.clamp(min=1e-6) ** gamma * entropy).mean()


def _weights(logits: Tensor, foreground: Sequence[float] | None) -> Tensor | None:
    """Of each channel, shaped to be broadcast over logits."""
    if foreground is None:
        return None
    return logits.new_tensor(foreground).view(-1, *(1,) * (logits.ndim - 2))


def loss_of(settings: TrainingSettings, foreground: Sequence[float] | None = None) -> Loss:
    """The loss that settings ask for.

    Args:
        foreground: weight of foreground pixels of each channel; 1 if not given.
    """
    bce = partial(bce_loss, foreground=foreground)
    terms: dict[str, Loss] = {
        "dice": dice_loss,
        "bce": bce,
        "focal": partial(focal_loss, gamma=settings.focal_gamma, foreground=foreground),
        "tversky": partial(tversky_loss, weights=settings.tversky),
    }
    wanted = {"dice": 1.0, "bce": 1.0} if settings.loss == "dice+bce" else settings.loss
    if isinstance(wanted, str):
        return terms[wanted]
    parts = [(weight, terms[name]) for name, weight in wanted.items()]

    def total(logits: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([weight * loss(logits, targets) for weight, loss in parts]).sum()

    return total
