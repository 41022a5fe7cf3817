"""A forest's maps through an enhancer, at several scales."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from shallow2deep.blocks import Window
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.network_maps import NetworkPredictor
from shallow2deep.inference.predictor import ArraySource, BlockSink
from shallow2deep.io.disk_map import DiskMap, Map
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.progress import Watch
from shallow2deep.settings import EnhancedSettings

_ROWS = 1024  # of a map, or columns, that are in memory at a time


@dataclass(frozen=True)
class Enhancer:
    """An enhancer's network, and how it is applied.

    Attributes:
        network: gives logits, and has `step` and `halo` as `UNet` has.
        roles: what each of its outputs tells of the class whose map it is given.
        kept: numbers of the classes, from 1, whose maps stay the forest's.
        watch: is told how many of a large image's blocks are done.
    """

    network: nn.Module
    roles: tuple[Output, ...]
    settings: EnhancedSettings = field(default_factory=EnhancedSettings)
    device: torch.device | str = "cpu"
    kept: frozenset[int] = frozenset()
    watch: Watch | None = None

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

    def enhance(self, probabilities: np.ndarray) -> np.ndarray:
        """Each class but the first through the enhancer, at several scales.

        Which scale fits is not known, as an enhancer has learned how large things are in pixels. A result
        that agrees with the forest's map is more likely to be of the right one: results are averaged with the
        squared Dice of the two maps, as they are, as weights.

        Args:
            probabilities: float32 `(C, y, x)`, or `(C, z, y, x)`, which is enhanced plane by plane.

        Returns:
            float32 `(K, [z,] y, x)`, in the order of `outputs`.
        """
        if probabilities.ndim > 3:
            planes = [self.enhance(probabilities[:, z]) for z in range(probabilities.shape[1])]
            return np.stack(planes, 1)
        return np.asarray(self.enhance_on_disk([p[None] for p in probabilities]))

    def enhance_on_disk(self, probabilities: Sequence[Map]) -> DiskMap:
        """The same, with no whole map in memory.

        Args:
            probabilities: of each class, float32 `(1, y, x)`.

        Returns:
            float32 `(K, y, x)`.
        """
        maps: list[Map] = []
        for number, p in enumerate(probabilities[1:], 1):
            if number in self.kept:
                maps.append(p)
                continue
            found = [self.enhance_at_scale(p, scale) for scale in self.settings.scales]
            maps.append(weighed_mean(found, p))
        out = DiskMap((sum(one.shape[0] for one in maps), *maps[0].shape[1:]))
        for rows in _stripes(out.shape[1]):
            parts = [one[:, rows] for one in maps]
            out.write((rows, slice(0, out.shape[2])), np.concatenate(parts))
        return out

    def enhance_at_scale(self, p: Map, scale: float) -> Map:
        """A class's map `(1, y, x)`, resized for the enhancer and back.

        Returns:
            float32 `(roles, y, x)`, the foreground last.
        """
        height, width = p.shape[1:]
        scaled = _resized(p, (max(1, round(height * scale)), max(1, round(width * scale))))
        enhanced = DiskMap((len(self.roles), *scaled.shape[1:]))
        predict_blocks(
            self.predictor(), ArraySource(scaled), _Reordered(enhanced, self._order), self.settings.block,
            watch=self.watch, what=f"enhancer blocks at scale {scale:g}",
        )  # fmt: skip
        return _resized(enhanced, (height, width))


@dataclass(frozen=True)
class _Reordered:
    """A sink that gets channels in another order."""

    sink: BlockSink
    order: Sequence[int]

    def write(self, window: Window, values: np.ndarray) -> None:
        self.sink.write(window, values[self.order])


def weighed_mean(maps: Sequence[Map], p: Map) -> Map:
    """The mean of enhanced maps `(roles, y, x)`.

    Args:
        p: the forest's map, `(1, y, x)`; maps whose last role agrees with it count more.
    """
    if len(maps) == 1:
        return maps[0]
    weights = [_agreement(one, p) ** 2 for one in maps]
    out = DiskMap(maps[0].shape)
    for rows in _stripes(out.shape[1]):
        total = np.zeros((out.shape[0], rows.stop - rows.start, out.shape[2]))
        for one, weight in zip(maps, weights, strict=True):
            total += one[:, rows] * np.float64(weight)
        out.write((rows, slice(0, out.shape[2])), total / sum(weights))
    return out


def _agreement(enhanced: Map, p: Map) -> float:
    """Dice of the last of some maps and a map, without thresholds; 1 if both are empty."""
    shared = total = 0.0
    for rows in _stripes(p.shape[1]):
        one, other = enhanced[-1:, rows], p[:, rows]
        shared += (one * other).sum(dtype=np.float64)
        total += one.sum(dtype=np.float64) + other.sum(dtype=np.float64)
    return float((2 * shared + 1) / (total + 1))


def _resized(maps: Map, size: tuple[int, int]) -> Map:
    """Maps `(K, y, x)` of another size; as they are if they have it.

    First along x, some rows at a time, then along y, some columns at a time: as torch does it with the whole.
    """
    if maps.shape[1:] == size:
        return maps
    along_x = DiskMap((*maps.shape[:2], size[1]))
    for rows in _stripes(maps.shape[1]):
        part = maps[:, rows]
        along_x.write((rows, slice(0, size[1])), _interpolated(part, (part.shape[1], size[1])))
    out = DiskMap((maps.shape[0], *size))
    for columns in _stripes(size[1]):
        part = along_x[:, :, columns]
        out.write((slice(0, size[0]), columns), _interpolated(part, (size[0], part.shape[2])).clip(0, 1))
    return out


def _interpolated(p: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    maps = torch.from_numpy(p.copy())[None]
    return interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False)[0].numpy()


def _stripes(length: int) -> Iterator[slice]:
    """An axis in pieces: maps are read and written by so many rows or columns."""
    yield from (slice(start, min(start + _ROWS, length)) for start in range(0, length, _ROWS))
