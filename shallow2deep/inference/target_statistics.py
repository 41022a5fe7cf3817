"""A companion that has seen what it will be applied to: its batch normalisation on the target's images."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from shallow2deep.blocks import Window
from shallow2deep.inference.enhance import Enhancer
from shallow2deep.io.disk_map import Map
from shallow2deep.seeding import generator

_WINDOWS = 12
_SIDE = {2: 512, 3: 96}  # of a window, pixels


def with_statistics_of(
    network: nn.Module, inputs: Iterable[np.ndarray], share: float, device: torch.device | str = "cpu"
) -> nn.Module:
    """A copy whose batch normalisation is between what it learned on and what it will be applied to.

    The means and variances of each layer become `(1 - share) * learned + share * those of the inputs`, as in
    Schneider et al. 2020 (arXiv 2006.16971), where the share follows from the number of images.

    Args:
        inputs: float32 `(C, *spatial)`, of sizes that the network takes; without any, nothing changes.
    """
    found = copy.deepcopy(network).to(device)
    norms = [module for module in found.modules() if isinstance(module, _BatchNorm)]
    states = [copy.deepcopy(norm.state_dict()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all inputs
        norm.train()
    any_seen = False
    with torch.no_grad():
        for x in inputs:
            found(torch.from_numpy(x)[None].to(device))
            any_seen = True
    for norm, state in zip(norms, states, strict=True):
        for name in ("running_mean", "running_var") if any_seen else ():
            state[name] = torch.lerp(state[name], norm.state_dict()[name], share)
        norm.load_state_dict(state)
    return found.eval()


def random_windows(shapes: Sequence[Sequence[int]], seed: int, stage: str) -> list[tuple[int, Window]]:
    """Some windows of some images, of large ones more, in the order of the images.

    Args:
        shapes: spatial, of each image.

    Returns:
        the number of an image and the window's place.
    """
    areas = np.array([prod(shape) for shape in shapes], float)
    found = []
    for index in range(_WINDOWS):
        rng = generator(seed, stage, index)
        image = int(rng.choice(len(shapes), p=areas / areas.sum()))
        side = _SIDE[len(shapes[image])]
        starts = [int(rng.integers(max(n - side, 0) + 1)) for n in shapes[image]]
        found.append(
            (image, tuple(slice(a, min(a + side, n)) for a, n in zip(starts, shapes[image], strict=True)))
        )
    return sorted(found, key=lambda pair: pair[0])


def companion_inputs(enhancer: Enhancer, p: Map, beside: Map, window: Window) -> Iterator[np.ndarray]:
    """What the companion sees of a window, at each scale.

    Args:
        p: a class's map, float32 `(1, *spatial)`.
        beside: standardised raw, likewise.

    Yields:
        float32 `(2, *spatial)`; nothing at a scale at which the window has no two of the network's steps.
    """
    step: Sequence[int] = enhancer.network.step  # type: ignore[assignment]
    parts = [one[(slice(None), *window)] for one in (p, beside)]
    for scale in enhancer.settings.scales:
        x = np.concatenate([np.asarray(one) for one in enhancer.scaled(parts, scale)])
        steps = [n // s for n, s in zip(x.shape[1:], step, strict=True)]
        if prod(steps) > 1:  # of one step the lowest level has one pixel, and no variance
            whole = tuple(slice(n * s) for n, s in zip(steps, step, strict=True))
            yield np.ascontiguousarray(x[(slice(None), *whole)])
