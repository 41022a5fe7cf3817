"""The objective of the segmentor, term by term."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from shallow2deep.settings import SegmentorSettings
from shallow2deep.training.objectives import FromPseudoLabels, share_divergence, stroke_loss


class Map(nn.Module):
    """A network whose logits are its weights times the input."""

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return network(x)


def batch(pseudo: torch.Tensor, weight: float = 1.0, strokes: torch.Tensor | None = None) -> torch.Tensor:
    layers = [pseudo, torch.full_like(pseudo[:, :1], weight)]
    return torch.cat([*layers, torch.zeros_like(pseudo[:, :1]) if strokes is None else strokes], 1)


def objective(variant: str = "plain", network: nn.Module | None = None, **changes: float) -> FromPseudoLabels:
    settings = SegmentorSettings.model_validate({"consistency_noise": 0.0} | changes)
    return FromPseudoLabels(network or Map(), settings, variant, seed=0)


def test_plain_is_weighted_cross_entropy() -> None:
    x, y = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    targets = batch(y)
    targets[:, 1, :2] = 0  # half of the pixels count
    p = torch.sigmoid(x)
    expected = -(y * p.log() + (1 - y) * (1 - p).log())[:, :, 2:].mean()
    torch.testing.assert_close(objective().loss(Map(), forward, x, targets), expected)


def test_rectification_follows_its_formula_and_moves_its_means() -> None:
    x, y = torch.randn(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    ours = objective("rectification", rectification_momentum=0.9)
    p = torch.sigmoid(x)
    s_fg, s_bg = 1 - (p - 1).abs(), 1 - ((1 - p) - 1).abs()
    expected = -(y * s_fg * p.log() + (1 - y) * s_bg * (1 - p).log()).mean()
    torch.testing.assert_close(ours.loss(Map(), forward, x, batch(y)), expected)
    means = torch.stack([0.9 + 0.1 * p[y >= 0.5].mean(), 0.9 + 0.1 * (1 - p)[y < 0.5].mean()])
    torch.testing.assert_close(ours.means, means)
    again = objective("rectification")
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again.means, means)


def test_rectification_has_a_finite_gradient_where_the_prediction_is_0() -> None:
    network = Map(1000.0)
    loss = objective("rectification").loss(
        network, forward, -torch.ones(1, 1, 4, 4), batch(torch.ones(1, 1, 4, 4))
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(network.weight.grad)


def test_teacher_is_the_running_mean_and_agrees_in_every_orientation() -> None:
    """With the same weights and no noise, student and teacher differ in nothing, however they are turned."""
    network = Map(2.0)
    ours = objective("consistency", network, stroke_weight=0.0)
    x, y = torch.randn(1, 1, 6, 6), torch.rand(1, 1, 6, 6)
    for _ in range(8):
        p = torch.sigmoid(2 * x)
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
        plain = objective().loss(network, forward, x, batch(y))
        torch.testing.assert_close(ours.loss(network, forward, x, batch(y)), plain + entropy)
        ours.step += 1
    ours = objective("consistency", network, teacher_momentum=0.75)
    before = copy.deepcopy(network)
    for weight in (4.0, 8.0, 8.0, 8.0):
        with torch.no_grad():
            network.weight.fill_(weight)
        ours.after_step(network)
    assert before.weight.item() == 2
    steps, mean = (4.0, 8.0, 8.0, 8.0), 2.0
    for n, weight in enumerate(steps, 1):
        momentum = min(0.75, 1 - 1 / (n + 1))
        mean = momentum * mean + (1 - momentum) * weight
    assert ours.teacher.weight.item() == pytest.approx(mean)


def test_strokes_weigh_the_same_in_each_class_and_beat_pseudo_labels() -> None:
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    strokes = torch.zeros(1, 4, 4)
    strokes[0, 0, 0], strokes[0, 1:] = 2, 1  # one pixel of foreground, twelve of background
    stroke_loss(logits, strokes).backward()
    gradient = logits.grad[0, 0]
    assert gradient[0, 0] == pytest.approx(-0.25)
    assert gradient[1:].sum() == pytest.approx(0.25)
    assert (gradient[0, 1:] == 0).all()
    assert stroke_loss(logits, torch.zeros(1, 4, 4)) == 0


def test_three_classes() -> None:
    logits = torch.zeros(1, 2, 3, 3, requires_grad=True)
    strokes = torch.zeros(1, 3, 3)
    strokes[0, 0], strokes[0, 1], strokes[0, 2] = 1, 2, 3
    stroke_loss(logits, strokes).backward()
    signs = np.sign(logits.grad[0, :, :, 0].numpy())
    np.testing.assert_array_equal(signs, [[1, -1, 1], [1, 1, -1]])


def test_alignment_is_zero_only_at_the_same_share() -> None:
    pseudo, weight = torch.full((1, 1, 4, 4), 0.25), torch.ones(1, 1, 4, 4)
    same = torch.logit(torch.tensor(0.25)).expand(1, 1, 4, 4)
    assert share_divergence(same, pseudo, weight) == pytest.approx(0, abs=1e-6)
    assert share_divergence(same + 1, pseudo, weight) > 0.01
    assert share_divergence(same - 1, pseudo, weight) > 0.01
