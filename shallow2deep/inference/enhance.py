"""A forest's maps through an enhancer, at several scales."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import NetworkPredictor
from shallow2deep.inference.predictor import BlockSink
from shallow2deep.inference.windows import Overlap
from shallow2deep.io.disk_map import DiskMap, Map
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.progress import Watch
from shallow2deep.settings import EnhancedSettings

_OF_COMPANION = 2.0  # how much more its maps count: docs/results.md
_ROWS = 1024  # of a map, or columns, that are in memory at a time


@dataclass(frozen=True)
class Enhancer:
    """An enhancer's network, and how it is applied.

    Attributes:
        network: gives logits, and has `step` and `halo` as `UNet` has.
        roles: what each of its outputs tells of the class whose map it is given.
        kept: numbers of the classes, from 1, whose maps stay the forest's.
        companion: a network of the same roles that sees raw beside the map; its maps are averaged with the
            first one's.
        overlap: of windows in place of blocks.
        watch: is told how many of a large image's blocks are done.
    """

    network: nn.Module
    roles: tuple[Output, ...]
    settings: EnhancedSettings = field(default_factory=EnhancedSettings)
    device: torch.device | str = "cpu"
    kept: frozenset[int] = frozenset()
    watch: Watch | None = None
    companion: nn.Module | None = None
    overlap: Overlap | None = None

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
            raw: `([C,] [z,] y, x)`, for a companion; of several channels it sees the mean.

        Returns:
            float32 `(K, [z,] y, x)`, in the order of `outputs`.

        Raises:
            InputError: there is a companion, and no raw.
        """
        if probabilities.ndim > 3:
            depth = probabilities.shape[1]
            raws = [None] * depth if raw is None else np.moveaxis(raw, -3, 0)
            return np.stack([self.enhance(probabilities[:, z], raws[z]) for z in range(depth)], 1)
        return np.asarray(self.enhance_on_disk([p[None] for p in probabilities], raw))

    def enhance_on_disk(self, probabilities: Sequence[Map], raw: np.ndarray | None = None) -> DiskMap:
        """The same, with no whole map in memory.

        Args:
            probabilities: of each class, float32 `(1, y, x)`.
            raw: `([C,] y, x)`.

        Returns:
            float32 `(K, y, x)`.
        """
        beside = self._beside(raw)
        maps: list[Map] = []
        for number, p in enumerate(probabilities[1:], 1):
            if number in self.kept:
                maps.append(p)
                continue
            scales = self.settings.scales
            found, factors = [self.enhance_at_scale(p, scale) for scale in scales], [1.0] * len(scales)
            if beside is not None:
                found += [self.enhance_at_scale(p, scale, beside) for scale in scales]
                factors += [_OF_COMPANION] * len(scales)
            maps.append(weighed_mean(found, p, factors))
        out = DiskMap((sum(one.shape[0] for one in maps), *maps[0].shape[1:]))
        for rows in _stripes(out.shape[1]):
            parts = [one[:, rows] for one in maps]
            out.write((rows, slice(0, out.shape[2])), np.concatenate(parts))
        return out

    def _beside(self, raw: np.ndarray | None) -> Map | None:
        """What the companion sees beside a map: grey, of mean 0 and deviation 1, float32 `(1, y, x)`."""
        if self.companion is None:
            return None
        if raw is None:
            raise InputError(
                "this enhancer sees raw, too, but maps alone came; give raw with them, or set enhanced.raw "
                "to false"
            )
        height, width = raw.shape[-2:]
        channels = raw.reshape(-1, height, width)

        def grey(rows: slice) -> np.ndarray:
            return channels[:, rows].mean(0, dtype=np.float64)

        parts = (grey(rows) for rows in _stripes(height))
        moments = Moments.of_sums((p.size, float(p.sum()), float((p * p).sum())) for p in parts)
        out = DiskMap((1, height, width))
        for rows in _stripes(height):
            out.write((rows, slice(0, width)), moments.standardised(grey(rows))[None])
        return out

    def enhance_at_scale(self, p: Map, scale: float, beside: Map | None = None) -> Map:
        """A class's map `(1, y, x)`, resized for the enhancer and back.

        Args:
            beside: standardised raw `(1, y, x)`, for the companion; without it, the first network is applied.

        Returns:
            float32 `(roles, y, x)`, the foreground last.
        """
        height, width = p.shape[1:]
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        scaled, predictor, what = [_resized(p, size)], self.predictor(), "enhancer"
        if beside is not None:
            assert self.companion is not None
            scaled.append(_resized(beside, size, -np.inf, np.inf))
            predictor, what = NetworkPredictor(self.companion, self.roles, self.device), "companion"
        enhanced = DiskMap((len(self.roles), *size))
        predict_blocks(
            predictor, _Channels(scaled), _Reordered(enhanced, self._order), self.settings.block,
            watch=self.watch, what=f"{what} blocks at scale {scale:g}", overlap=self.overlap,
        )  # fmt: skip
        return _resized(enhanced, (height, width))


@dataclass(frozen=True)
class _Channels:
    """Maps `(1, y, x)` as the channels of one source."""

    maps: Sequence[Map]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.maps), *self.maps[0].shape[1:])

    def read(self, window: Window) -> np.ndarray:
        return np.concatenate([one[(slice(None), *window[1:])] for one in self.maps])


@dataclass(frozen=True)
class _Reordered:
    """A sink that gets channels in another order."""

    sink: BlockSink
    order: Sequence[int]

    def write(self, window: Window, values: np.ndarray) -> None:
        self.sink.write(window, values[self.order])


def weighed_mean(maps: Sequence[Map], p: Map, factors: Iterable[float] = repeat(1.0)) -> Map:
    """The mean of enhanced maps `(roles, y, x)`.

    Args:
        p: the forest's map, `(1, y, x)`; maps whose last role agrees with it count more.
        factors: of the weight of each map.
    """
    if len(maps) == 1:
        return maps[0]
    weights = [factor * _agreement(one, p) ** 2 for one, factor in zip(maps, factors, strict=False)]
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


def _resized(maps: Map, size: tuple[int, int], low: float = 0.0, high: float = 1.0) -> Map:
    """Maps `(K, y, x)` of another size, with values from `low` to `high`; as they are if they have it.

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
        out.write((slice(0, size[0]), columns), _interpolated(part, (size[0], part.shape[2])).clip(low, high))
    return out


def _interpolated(p: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    maps = torch.from_numpy(p.copy())[None]
    return interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False)[0].numpy()


def _stripes(length: int) -> Iterator[slice]:
    """An axis in pieces: maps are read and written by so many rows or columns."""
    yield from (slice(start, min(start + _ROWS, length)) for start in range(0, length, _ROWS))
