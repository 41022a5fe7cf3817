"""Optimisers by name, and how the learning rate goes on with the steps."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from shallow2deep.settings import TrainingSettings
from shallow2deep.training.segments import Segment


def optimizer_of(settings: TrainingSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that settings ask for."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, settings.momentum, weight_decay=decay)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, weight_decay=decay, momentum=settings.momentum)
    adaptive: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "nadam": torch.optim.NAdam,
        "radam": torch.optim.RAdam,
    }
    return adaptive[settings.optimizer](parameters, lr=rate, betas=settings.betas, weight_decay=decay)


def scheduler_of(settings: TrainingSettings, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """The schedule that settings ask for; `plateau` is told of scores, all others of steps."""
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(
            optimizer, mode="max", factor=settings.plateau_factor, patience=settings.plateau_patience
        )
    return LambdaLR(optimizer, factor_of(settings))


def factor_of(settings: TrainingSettings, since: int = 0) -> Callable[[int], float]:
    """By which the learning rate of settings is multiplied at a step.

    Args:
        since: the step at which that rate was set by hand; `rates` of earlier steps do not count then.
    """
    rise = rise_of(settings)
    shapes = {"cosine": _cosine, "exponential": _exponential, "steps": _by_steps, "constant": _constant}
    shape = shapes[settings.schedule](settings, rise, since)

    def factor(step: int) -> float:
        return (step + 1) / rise if step < rise else shape(step)

    return factor


def rise_of(settings: TrainingSettings) -> int:
    """Steps in which the rate rises."""
    if settings.warm_up is not None:
        return settings.warm_up
    return max(1, settings.steps // 20) if settings.schedule == "cosine" else 0


def _cosine(settings: TrainingSettings, rise: int, since: int) -> Callable[[int], float]:
    """Half a cosine down to zero."""
    return lambda step: 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, settings.steps - rise)))


def _exponential(settings: TrainingSettings, rise: int, since: int) -> Callable[[int], float]:
    return lambda step: settings.decay ** ((step - rise) / max(1, settings.steps - rise))


def _by_steps(settings: TrainingSettings, rise: int, since: int) -> Callable[[int], float]:
    later = [(at, rate) for at, rate in settings.rates if at > since]

    def factor(step: int) -> float:
        reached = [rate for at, rate in later if at <= step]
        return reached[-1] / settings.learning_rate if reached else 1.0

    return factor


def _constant(settings: TrainingSettings, rise: int, since: int) -> Callable[[int], float]:
    return lambda step: 1.0


def rate_set_at(parts: Sequence[Segment], step: int) -> int:
    """The step at which the learning rate was set by hand for the last time; 0 if it was not."""
    return max(
        (part.start for part in parts if part.start <= step and "learning_rate" in part.changed), default=0
    )
