"""How networks in training are judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from shallow2deep.outputs import IGNORED, Output

Sample = tuple[Tensor, Tensor]


class Samples(Protocol):
    """Sample `index`: input float32 `(C, *spatial)` and targets `(K, *spatial)`; depends on `index` alone."""

    def __getitem__(self, index: int) -> Sample: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Judged:
    """What a validation found.

    Attributes:
        scores: by the names of their curves.
        score: by which weights are chosen; at least 0, and the higher the better.
        picture: float `(1, y, x)` in 0..1.
    """

    scores: Mapping[str, float]
    score: float
    picture: Tensor


Judge = Callable[[Callable[[Tensor], Tensor], Samples, int], Judged]
"""Of what gives the logits of a batch of inputs, on the CPU; validation samples; and how many at a time."""


def batches(samples: Samples, size: int) -> list[range]:
    """The numbers of all samples, so many at a time."""
    return [range(start, min(start + size, len(samples))) for start in range(0, len(samples), size)]


def stacked(samples: Samples, numbers: range) -> Sample:
    """Inputs and targets of some samples."""
    inputs, targets = (torch.stack(part) for part in zip(*(samples[i] for i in numbers), strict=True))
    return inputs, targets


def side_by_side(images: Sequence[Tensor]) -> Tensor:
    """Of `(*spatial)` each, as a picture `(1, y, n x)` in 0..1; of volumes the middle planes."""
    planes = [image if image.ndim == 2 else image[len(image) // 2] for image in images]
    whole = torch.cat([plane.float() for plane in planes], -1)
    return ((whole - whole.min()) / (whole.max() - whole.min()).clamp(min=1e-6))[None]


def dice_of(outputs: Sequence[Output]) -> Judge:
    """Dice at 0.5 of each output over all samples, on their targets' first channels; their mean decides."""

    def judge(predict: Callable[[Tensor], Tensor], samples: Samples, size: int) -> Judged:
        overlap: Tensor | float = 0.0
        total: Tensor | float = 0.0
        picture: Tensor | None = None
        for numbers in batches(samples, size):
            inputs, targets = stacked(samples, numbers)
            p = torch.sigmoid(predict(inputs))
            ignored = targets == IGNORED
            p, targets = p.masked_fill(ignored, 0), targets.masked_fill(ignored, 0)
            if picture is None:
                picture = side_by_side([inputs[0, 0], targets[0, 0], p[0, 0]])
            axes = [0, *range(2, p.ndim)]
            overlap = overlap + ((p > 0.5) & (targets > 0)).sum(axes)
            total = total + (p > 0.5).sum(axes) + (targets > 0).sum(axes)
        assert picture is not None, "validation without samples"
        found = [float(s) for s in 2 * torch.as_tensor(overlap) / torch.as_tensor(total).clamp(min=1)]
        scores = {f"dice_{output.title}": score for output, score in zip(outputs, found, strict=True)}
        return Judged(scores, sum(found) / len(found), picture)

    return judge
