"""What a training step minimises, and what it remembers from step to step."""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from shallow2deep.networks.losses import Loss
from shallow2deep.outputs import IGNORED
from shallow2deep.settings import SegmentorSettings, Variant

_SURE = -100.0  # a logit whose probability is 0
Forward = Callable[[nn.Module, Tensor], Tensor]


class Objective(Protocol):
    """A loss with a state; the state belongs in checkpoints."""

    def loss(self, network: nn.Module, forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch; `forward` gives a network's logits as float32."""
        ...

    def after_step(self, network: nn.Module) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Supervised:
    """Targets are true, but where they are `IGNORED`; nothing is remembered."""

    def __init__(self, loss: Loss):
        self._loss = loss

    def loss(self, network: nn.Module, forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        ignored = targets == IGNORED
        # there it is sure of what the target says: no loss and no gradient
        logits = forward(network, inputs).masked_fill(ignored, _SURE)
        return self._loss(logits, targets.float().masked_fill(ignored, 0))

    def after_step(self, network: nn.Module) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class FromPseudoLabels:
    """Soft pseudo-labels, and strokes as true labels.

    Targets are float32 `(batch, K + 2, y, x)`: K pseudo-labels, the weight of their pixels (0 under strokes,
    so that they never contradict them), and the class of the strokes (0 unlabelled, 1 background, 2 …).

    - plain: weighted cross-entropy with the pseudo-labels.
    - rectification: with p the prediction, y the pseudo-label and m the running means of p in either class,
      -mean[sg(y (1 - |p - m_fg|)) log p + sg((1 - y) (1 - |(1 - p) - m_bg|)) log(1 - p)] (Matskevych et al.
      2022), where sg stops the gradient; the means start at 1.
    - consistency: cross-entropy with a teacher, the running mean of the weights (Tarvainen and Valpola 2017),
      which sees the same image under other noise; student's input and teacher's output are flipped alike.
    - alignment: KL divergence between the pseudo-labels' and the prediction's share of foreground.
    """

    def __init__(self, network: nn.Module, settings: SegmentorSettings, variant: Variant, seed: int):
        self.settings, self.seed, self.step = settings, seed, 0
        self._part = 0  # of a step whose gradients are those of several batches
        self.rectify = variant in ("rectification", "both")
        self.means = torch.ones(2)  # of foreground in its class, of background in its
        self.teacher: nn.Module | None = None
        if variant in ("consistency", "both"):
            self.teacher = copy.deepcopy(network).requires_grad_(False).eval()

    def loss(self, network: nn.Module, forward: Forward, inputs: Tensor, targets: Tensor) -> Tensor:
        pseudo, weight, strokes = targets[:, :-2].float(), targets[:, -2:-1].float(), targets[:, -1]
        if self.teacher is None:
            logits = forward(network, inputs)
            consistency = logits.new_zeros(())
        else:
            logits, consistency = self._with_teacher(network, forward, inputs)
        if self.rectify:
            per_pixel = self._rectified(logits, pseudo, weight > 0)
        else:
            per_pixel = cross_entropy(logits, pseudo, reduction="none")
        total = (per_pixel * weight).sum() / (weight.sum() * pseudo.shape[1]).clamp(min=1)
        total = total + self.settings.stroke_weight * stroke_loss(logits, strokes)
        total = total + self.settings.consistency_weight * consistency
        if self.settings.alignment:
            total = total + self.settings.alignment * share_divergence(logits, pseudo, weight)
        return total

    def _with_teacher(self, network: nn.Module, forward: Forward, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The student's logits, in the orientation of the inputs, and the loss between both."""
        assert self.teacher is not None
        self.teacher.to(inputs.device)
        random = torch.Generator().manual_seed(self.seed + self.step + self._part * 2**32)
        self._part += 1
        turns, flip = (int(torch.randint(n, (), generator=random)) for n in (4, 2))
        turns = turns if inputs.shape[-1] == inputs.shape[-2] else 2 * (turns // 2)

        def noisy() -> Tensor:
            noise = torch.randn(inputs.shape, generator=random).to(inputs.device)
            return inputs + self.settings.consistency_noise * noise

        student = forward(network, _turned(noisy(), turns, flip))
        with torch.no_grad():
            p = torch.sigmoid(forward(self.teacher, noisy()))
        loss = cross_entropy(student, _turned(p, turns, flip))
        return _turned_back(student, turns, flip), loss

    def _rectified(self, logits: Tensor, pseudo: Tensor, counted: Tensor) -> Tensor:
        p = torch.sigmoid(logits.detach())
        foreground, background = self.means.to(p.device)
        near_foreground, near_background = 1 - (p - foreground).abs(), 1 - (1 - p - background).abs()
        momentum = self.settings.rectification_momentum
        for n, (values, member) in enumerate(((p, pseudo >= 0.5), (1 - p, pseudo < 0.5))):
            member = member & counted
            if member.any():
                mean = values[member].mean().cpu()
                self.means[n] = momentum * self.means[n] + (1 - momentum) * mean
        return -(pseudo * near_foreground * logsigmoid(logits)) - (
            (1 - pseudo) * near_background * logsigmoid(-logits)
        )

    def after_step(self, network: nn.Module) -> None:
        self.step, self._part = self.step + 1, 0
        if self.teacher is None:
            return
        follow(self.teacher, network, min(self.settings.teacher_momentum, 1 - 1 / (self.step + 1)))

    def state_dict(self) -> dict[str, Any]:
        teacher = None if self.teacher is None else self.teacher.state_dict()
        return {"step": self.step, "means": self.means, "teacher": teacher}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.means = state["step"], state["means"]
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])


def follow(mean: nn.Module, network: nn.Module, momentum: float) -> None:
    """Brings a running mean of a network's weights and statistics nearer to them."""
    with torch.no_grad():
        own = network.state_dict()
        for name, tensor in mean.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(own[name].to(tensor.dtype), 1 - momentum)
            else:
                tensor.copy_(own[name])


def stroke_loss(logits: Tensor, strokes: Tensor) -> Tensor:
    """Cross-entropy under strokes, each class of them weighing the same; 0 where there are none.

    Args:
        logits: `(batch, K, y, x)`, of classes 2 to K + 1.
        strokes: `(batch, y, x)`: 0 unlabelled, or the number of a class.
    """
    losses = []
    for number in range(1, logits.shape[1] + 2):
        drawn = strokes == number
        if drawn.any():
            own = logits.movedim(1, -1)[drawn]
            truth = torch.zeros_like(own)
            if number > 1:
                truth[:, number - 2] = 1
            losses.append(cross_entropy(own, truth))
    return torch.stack(losses).mean() if losses else logits.new_zeros(())


def share_divergence(logits: Tensor, pseudo: Tensor, weight: Tensor) -> Tensor:
    """KL divergence of the predicted share of each foreground class from that of the pseudo-labels."""
    counted = weight.sum().clamp(min=1e-6)
    axes = (0, *range(2, logits.ndim))
    wanted = ((pseudo * weight).sum(axes) / counted).clamp(1e-4, 1 - 1e-4)
    found = ((torch.sigmoid(logits) * weight).sum(axes) / counted).clamp(1e-4, 1 - 1e-4)
    return (wanted * (wanted / found).log() + (1 - wanted) * ((1 - wanted) / (1 - found)).log()).mean()


def _turned(x: Tensor, turns: int, flip: int) -> Tensor:
    x = torch.rot90(x, turns, (-2, -1))
    return x.flip(-1) if flip else x


def _turned_back(x: Tensor, turns: int, flip: int) -> Tensor:
    x = x.flip(-1) if flip else x
    return torch.rot90(x, -turns, (-2, -1))
