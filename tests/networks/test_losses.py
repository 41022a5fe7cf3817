"""Losses against their definitions."""

from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from shallow2deep.networks.losses import bce_loss, dice_loss, focal_loss, loss_of, tversky_loss
from shallow2deep.settings import TrainingSettings

LOSSES: list[Any] = ["dice", "bce", "dice+bce", "focal", "tversky", {"dice": 1, "focal": 0.5, "tversky": 2}]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 2, 5, 6), (torch.rand(2, 2, 5, 6) > 0.7).float()


def test_dice_loss_is_its_formula() -> None:
    logits, targets = torch.randn(2, 1, 5, 6), torch.rand(2, 1, 5, 6)
    p = torch.sigmoid(logits)
    expected = 1 - 2 * (p * targets).sum() / ((p**2).sum() + (targets**2).sum())
    assert torch.allclose(dice_loss(logits, targets), expected)


def test_focal_and_tversky_losses_are_their_formulas() -> None:
    logits, targets = batch()
    p = torch.sigmoid(logits)
    of_truth = torch.where(targets > 0, p, 1 - p)
    assert torch.allclose(focal_loss(logits, targets, 2), -((1 - of_truth) ** 2 * of_truth.log()).mean())
    assert torch.allclose(focal_loss(logits, targets, 0), cross_entropy(logits, targets))
    right, false, missed = (
        (a * b).sum((0, 2, 3)) for a, b in ((p, targets), (p, 1 - targets), (1 - p, targets))
    )
    expected = (1 - right / (right + 0.2 * false + 0.9 * missed)).mean()
    assert torch.allclose(tversky_loss(logits, targets, (0.2, 0.9)), expected)


def test_foreground_weighs_as_much_as_background() -> None:
    logits, targets = batch()
    weights = torch.where(targets > 0, torch.tensor([3.0, 7.0]).view(1, 2, 1, 1), 1.0)
    expected = (weights * cross_entropy(logits, targets, reduction="none")).mean()
    assert torch.allclose(bce_loss(logits, targets, [3, 7]), expected)
    assert torch.allclose(focal_loss(logits, targets, 0, [3, 7]), expected)


def test_the_default_loss_and_weighted_sums() -> None:
    logits, targets = batch()
    parts = {"dice": dice_loss(logits, targets), "bce": cross_entropy(logits, targets)}
    assert torch.equal(loss_of(TrainingSettings())(logits, targets), parts["dice"] + parts["bce"])
    weighted = loss_of(TrainingSettings(loss={"dice": 0.5, "bce": 2}))(logits, targets)
    assert torch.allclose(weighted, 0.5 * parts["dice"] + 2 * parts["bce"])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_the_truth_and_is_finite_on_empty_targets(name: Any) -> None:
    loss_function = loss_of(TrainingSettings(loss=name))
    targets = (torch.rand(2, 2, 8, 8) > 0.5).float()
    right, wrong = (targets * 2 - 1) * 4, (1 - targets * 2) * 4
    assert loss_function(right, targets) < loss_function(wrong, targets)
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    loss = loss_function(logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
