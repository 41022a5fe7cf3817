"""A forest's maps through an enhancer, at several scales."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from shallow2deep.errors import InputError
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import NetworkPredictor, predict_with_network
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.settings import EnhancedSettings

_ROWS = 256  # of a map that are added up at a time: large maps leave no room for copies


@dataclass(frozen=True)
class Enhancer:
    """An enhancer's network, and how it is applied.

    Attributes:
        network: gives logits, and has `step` and `halo` as `UNet` has. It takes one channel, a class's map,
            or a second one, standardised raw.
        roles: what each of its outputs tells of the class whose map it is given.
        kept: numbers of the classes, from 1, whose maps stay the forest's.
        sees_raw: whether the network takes raw, too.
    """

    network: nn.Module
    roles: tuple[Output, ...]
    settings: EnhancedSettings = field(default_factory=EnhancedSettings)
    device: torch.device | str = "cpu"
    kept: frozenset[int] = frozenset()
    sees_raw: bool = False

    def outputs(self, classes: Sequence[str]) -> tuple[Output, ...]:
        """The channels of the enhanced map: each class but the first, behind its boundary."""
        found: list[Output] = []
        for number, name in enumerate(classes[1:], 1):
            roles = [Output(None)] if number in self.kept else [self.roles[n] for n in self._order]
            found += [role.of(name) for role in roles]
        return tuple(found)

    @property
    def _order(self) -> list[int]:
        """The network's outputs, the foreground last."""
        last_first = range(len(self.roles))[::-1]
        return sorted(last_first, key=lambda n: self.roles[n].role == FOREGROUND)

    def predictor(self) -> NetworkPredictor:
        """The network from one class's map to its outputs, block by block at scale 1."""
        return NetworkPredictor(self.network, self.roles, self.device)

    def enhance(self, probabilities: np.ndarray, raw: np.ndarray | None = None) -> np.ndarray:
        """Each class but the first through the enhancer, at several scales.

        Which scale fits is not known, as an enhancer has learned how large things are in pixels. A result
        that agrees with the forest's map is more likely to be of the right one: results are averaged with the
        squared Dice of the two maps, as they are, as weights.

        Args:
            probabilities: float32 `(C, y, x)`, or `(C, z, y, x)`, which is enhanced plane by plane.
            raw: `([z,] y, x)` where the network sees it; of several channels the mean is taken.

        Returns:
            float32 `(K, [z,] y, x)`, in the order of `outputs`.

        Raises:
            InputError: the network sees raw, and none was given.
        """
        if probabilities.ndim > 3:
            depth = probabilities.shape[1]
            raws = [None] * depth if raw is None else _grey(raw, 3)
            return np.stack([self.enhance(probabilities[:, z], raws[z]) for z in range(depth)], 1)
        beside = self._standardised(raw)
        maps = []
        for number, p in enumerate(probabilities[1:], 1):
            if number in self.kept:
                maps.append(p[None])
                continue
            found = (self._at_scale(p, beside, scale) for scale in self.settings.scales)
            maps.append(weighed_mean(found, p))
        return np.concatenate(maps)

    def enhance_at_scale(self, p: np.ndarray, scale: float, raw: np.ndarray | None = None) -> np.ndarray:
        """A class's map `(y, x)`, resized for the enhancer and back; `(roles, y, x)`, the foreground last."""
        return self._at_scale(p, self._standardised(raw), scale)

    def _standardised(self, raw: np.ndarray | None) -> np.ndarray | None:
        """What the network sees beside a map, `(y, x)`; None if that is nothing."""
        if not self.sees_raw:
            return None
        if raw is None:
            raise InputError("this enhancer sees raw, but maps alone came; give raw with them")
        grey = _grey(raw, 2)
        return Moments.of(grey).standardised(grey)

    def _at_scale(self, p: np.ndarray, beside: np.ndarray | None, scale: float) -> np.ndarray:
        scaled = tuple(max(1, round(n * scale)) for n in p.shape)
        channels = [_resized(p[None], scaled).clip(0, 1)]
        if beside is not None:
            channels.append(_resized(beside[None], scaled))
        image = np.concatenate(channels)
        enhanced = predict_with_network(self.network, image, self.settings.block, self.device)
        return _resized(enhanced, p.shape).clip(0, 1)[self._order]


def weighed_mean(found: Iterable[np.ndarray], p: np.ndarray) -> np.ndarray:
    """The mean of enhanced maps `(roles, y, x)`, weighed by how well the last role's agrees with `p`.

    One of them is in memory at a time.
    """
    maps = iter(found)
    first, second = next(maps), next(maps, None)
    if second is None:
        return first
    total, weights = np.zeros(first.shape, np.float64), 0.0
    for one in chain((first, second), maps):
        weight = _agreement(one[-1], p) ** 2
        for start in range(0, one.shape[1], _ROWS):
            rows = slice(start, start + _ROWS)
            total[:, rows] += one[:, rows] * np.float64(weight)
        weights += weight
    return (total / weights).astype(np.float32)


def _agreement(p: np.ndarray, q: np.ndarray) -> float:
    """Dice of two probability maps, without thresholds; 1 if both are empty."""
    shared, total = (p * q).sum(dtype=np.float64), p.sum(dtype=np.float64) + q.sum(dtype=np.float64)
    return float((2 * shared + 1) / (total + 1))


def _resized(p: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Maps `(K, y, x)` of another size; as they are if they have it."""
    if p.shape[1:] == size:
        return p
    maps = torch.from_numpy(p.copy())[None]
    return interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False)[0].numpy()


def _grey(raw: np.ndarray, ndim: int) -> np.ndarray:
    """Raw `([C,] *spatial)` without channels."""
    return raw if raw.ndim == ndim else raw.mean(0)
