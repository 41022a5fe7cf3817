"""Losses against their definitions."""

import pytest
import torch

from shallow2deep.networks.losses import LOSSES, dice_loss


def test_dice_loss_is_its_formula() -> None:
    logits, targets = torch.randn(2, 1, 5, 6), torch.rand(2, 1, 5, 6)
    p = torch.sigmoid(logits)
    expected = 1 - 2 * (p * targets).sum() / ((p**2).sum() + (targets**2).sum())
    assert torch.allclose(dice_loss(logits, targets), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_the_truth_and_is_finite_on_empty_targets(name: str) -> None:
    targets = (torch.rand(2, 2, 8, 8) > 0.5).float()
    right, wrong = (targets * 2 - 1) * 4, (1 - targets * 2) * 4
    assert LOSSES[name](right, targets) < LOSSES[name](wrong, targets)
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
