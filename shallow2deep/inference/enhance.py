"""A forest's maps through an enhancer, at several scales."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from math import prod

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import BLOCK, NetworkPredictor
from shallow2deep.inference.predictor import BlockSink
from shallow2deep.inference.windows import Overlap
from shallow2deep.io.disk_map import DiskMap, Map
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.progress import Watch
from shallow2deep.settings import EnhancedSettings

OF_COMPANION = 2.0  # how much more its maps count: docs/results.md
_ROWS = 1024  # of a 2D map, or columns, that are in memory at a time; in volumes, of some planes together
_ALIKE = 1.3  # shapes of voxels that differ by a smaller factor are taken for the same


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
        planes: the axes across which planes of volumes are seen by a network in 2D, "z" or "zyx"; results
            are averaged.
        stretch: factors by which maps `(z, y, x)` are resized besides, so that their voxels have the shape of
            those that the network has learned on.
    """

    network: nn.Module
    roles: tuple[Output, ...]
    settings: EnhancedSettings = field(default_factory=EnhancedSettings)
    device: torch.device | str = "cpu"
    kept: frozenset[int] = frozenset()
    watch: Watch | None = None
    companion: nn.Module | None = None
    planes: str = "z"
    stretch: tuple[float, ...] = (1.0, 1.0, 1.0)
    overlap: Overlap | None = None

    @property
    def ndim(self) -> int:
        """Spatial axes of what the network sees."""
        return len(self.network.halo)  # type: ignore[arg-type]

    def outputs(self, classes: Sequence[str]) -> tuple[Output, ...]:
        """The channels of the enhanced map: each class but the first, behind its boundary."""
        found: list[Output] = []
        for number, name in enumerate(classes[1:], 1):
            roles = [Output(None)] if number in self.kept else [self.roles[n] for n in self.order]
            found += [role.of(name) for role in roles]
        return tuple(found)

    @property
    def order(self) -> list[int]:
        """The network's outputs, the foreground last."""
        last_first = range(len(self.roles))[::-1]
        return sorted(last_first, key=lambda n: self.roles[n].role == FOREGROUND)

    @cached_property
    def predictor(self) -> NetworkPredictor:
        """The network from one class's map to its outputs, block by block at scale 1."""
        return NetworkPredictor(self.network, self.roles, self.device)

    @cached_property
    def companion_predictor(self) -> NetworkPredictor:
        """The companion from one class's map and standardised raw to its outputs."""
        assert self.companion is not None
        return NetworkPredictor(self.companion, self.roles, self.device)

    def size_at(self, scale: float, shape: Sequence[int]) -> tuple[int, ...]:
        """Of maps `(*spatial)` of that shape, resized for the networks."""
        stretch = self.stretch[-self.ndim :]
        return tuple(max(1, round(n * scale * by)) for n, by in zip(shape, stretch, strict=True))

    def enhance(self, probabilities: np.ndarray, raw: np.ndarray | None = None) -> np.ndarray:
        """Each class but the first through the enhancer, at several scales.

        Which scale fits is not known, as an enhancer has learned how large things are in pixels. A result
        that agrees with the forest's map is more likely to be of the right one: results are averaged with the
        squared Dice of the two maps, as they are, as weights.

        Args:
            probabilities: float32 `(C, *spatial)`; a network in 2D enhances volumes by `planes`.
            raw: `([C,] *spatial)`, for a companion; of several channels it sees the mean.

        Returns:
            float32 `(K, *spatial)`, in the order of `outputs`.

        Raises:
            InputError: there is a companion, and no raw.
        """
        if probabilities.ndim > self.ndim + 1:
            total = sum(self._by_planes(probabilities, raw, "zyx".index(axis)) for axis in self.planes)
            return np.asarray(total / len(self.planes), np.float32)
        return np.asarray(self.enhance_on_disk([p[None] for p in probabilities], raw))

    def _by_planes(self, probabilities: np.ndarray, raw: np.ndarray | None, axis: int) -> np.ndarray:
        """A volume `(C, z, y, x)`, each plane across an axis alone."""
        flat = replace(self, stretch=tuple(np.delete(self.stretch, axis)))
        maps = np.moveaxis(probabilities, axis + 1, 0)
        raws = [None] * len(maps) if raw is None else np.moveaxis(raw, axis - 3, 0)
        found = [flat.enhance(np.ascontiguousarray(p), r) for p, r in zip(maps, raws, strict=True)]
        return np.stack(found, axis + 1)

    def enhance_on_disk(self, probabilities: Sequence[Map], raw: np.ndarray | None = None) -> DiskMap:
        """The same, with no whole map in memory.

        Args:
            probabilities: of each class, float32 `(1, *spatial)`, of as many axes as the network sees.
            raw: `([C,] *spatial)`.

        Returns:
            float32 `(K, *spatial)`.
        """
        beside = self.beside(raw)
        maps: list[Map] = []
        for number, p in enumerate(probabilities[1:], 1):
            if number in self.kept:
                maps.append(p)
                continue
            scales = self.settings.scales
            found, factors = [self.enhance_at_scale(p, scale) for scale in scales], [1.0] * len(scales)
            if beside is not None:
                found += [self.enhance_at_scale(p, scale, beside) for scale in scales]
                factors += [OF_COMPANION] * len(scales)
            maps.append(weighed_mean(found, p, factors))
        out = DiskMap((sum(one.shape[0] for one in maps), *maps[0].shape[1:]))
        for part in _stripes(out.shape[1:]):
            out.write(part, np.concatenate([one[(slice(None), *part)] for one in maps]))
        return out

    def beside(self, raw: np.ndarray | None) -> Map | None:
        """What the companion sees beside a map: grey, of mean 0, deviation 1, float32 `(1, *spatial)`."""
        if self.companion is None:
            return None
        if raw is None:
            raise InputError(
                "this enhancer sees raw, too, but maps alone came; give raw with them, or set enhanced.raw "
                "to false"
            )
        shape = raw.shape[raw.ndim - self.ndim :]
        channels = raw.reshape(-1, *shape)

        def grey(part: Window) -> np.ndarray:
            return channels[(slice(None), *part)].mean(0, dtype=np.float64)

        parts = (grey(part) for part in _stripes(shape))
        moments = Moments.of_sums((p.size, float(p.sum()), float((p * p).sum())) for p in parts)
        out = DiskMap((1, *shape))
        for part in _stripes(shape):
            out.write(part, moments.standardised(grey(part))[None])
        return out

    def enhance_at_scale(self, p: Map, scale: float, beside: Map | None = None) -> Map:
        """A class's map `(1, *spatial)`, resized for the enhancer and back.

        Args:
            beside: standardised raw `(1, *spatial)`, for the companion; without it, the first network is
                applied.

        Returns:
            float32 `(roles, *spatial)`, the foreground last.
        """
        scaled = self.scaled([p] if beside is None else [p, beside], scale)
        predictor, what, size = self.predictor, "enhancer", tuple(scaled[0].shape[1:])
        if beside is not None:
            predictor, what = self.companion_predictor, "companion"
        enhanced = DiskMap((len(self.roles), *size))
        predict_blocks(
            predictor, _Channels(scaled), _Reordered(enhanced, self.order), self.block,
            watch=self.watch, what=f"{what} blocks at scale {scale:g}", overlap=self.overlap,
        )  # fmt: skip
        return _resized(enhanced, tuple(p.shape[1:]))

    def scaled(self, seen: Sequence[Map], scale: float) -> list[Map]:
        """A class's map `(1, *spatial)`, and raw if it comes behind it, as large as they are seen."""
        size = self.size_at(scale, seen[0].shape[1:])
        return [_resized(seen[0], size), *(_resized(raw, size, -np.inf, np.inf) for raw in seen[1:])]

    @property
    def block(self) -> tuple[int, ...]:
        """As set, unless that is for volumes, and this network sees their planes."""
        block = self.settings.block
        return block if len(block) == self.ndim else (BLOCK[self.ndim],) * self.ndim


def stretch_between(voxel_size: Sequence[float] | None, learned: Sequence[float] | None) -> tuple[float, ...]:
    """By which factors maps `(z, y, x)` get voxels of the shape that an enhancer has learned on.

    Along x nothing changes: which pixels are of the right size is the matter of scales. Shapes that are not
    known, and such as hardly differ, are taken for the same.

    Args:
        voxel_size: of the maps.
        learned: of three axes, or of the two of an enhancer's planes.

    >>> stretch_between((40, 10, 10), (20, 10, 10)), stretch_between((40, 10, 10), (10, 10))
    ((2.0, 1.0, 1.0), (4.0, 1.0, 1.0))
    """
    if voxel_size is None or learned is None or len(voxel_size) < 3:
        return 1.0, 1.0, 1.0
    sides = (learned[-1],) * (3 - len(learned)) + tuple(learned)
    ratios = (a / voxel_size[-1] * sides[-1] / b for a, b in zip(voxel_size, sides, strict=True))
    return tuple(1.0 if 1 / _ALIKE < ratio < _ALIKE else ratio for ratio in ratios)


@dataclass(frozen=True)
class _Channels:
    """Maps `(1, *spatial)` as the channels of one source."""

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
    """The mean of enhanced maps `(roles, *spatial)`.

    Args:
        p: the forest's map, `(1, *spatial)`; maps whose last role agrees with it count more.
        factors: of the weight of each map.
    """
    if len(maps) == 1:
        return maps[0]
    weights = [factor * _agreement(one, p) ** 2 for one, factor in zip(maps, factors, strict=False)]
    out = DiskMap(maps[0].shape)
    for part in _stripes(out.shape[1:]):
        total: np.ndarray | float = 0.0
        for one, weight in zip(maps, weights, strict=True):
            total = total + one[(slice(None), *part)] * np.float64(weight)
        out.write(part, np.asarray(total / sum(weights)))
    return out


def _agreement(enhanced: Map, p: Map) -> float:
    """Dice of the last of some maps and a map, without thresholds; 1 if both are empty."""
    shared = total = 0.0
    for part in _stripes(p.shape[1:]):
        one, other = enhanced[(slice(-1, None), *part)], p[(slice(None), *part)]
        shared += (one * other).sum(dtype=np.float64)
        total += one.sum(dtype=np.float64) + other.sum(dtype=np.float64)
    return float((2 * shared + 1) / (total + 1))


def _resized(maps: Map, size: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Map:
    """Maps `(K, *spatial)` of another size, with values from `low` to `high`; as they are if they have it.

    Axis by axis, the last one first, a part at a time: as torch does it with the whole.
    """
    if maps.shape[1:] == size:
        return maps
    for axis in reversed(range(len(size))):
        if maps.shape[axis + 1] != size[axis]:
            maps = _resized_along(maps, axis, size[axis], low, high)
    return maps


def _resized_along(maps: Map, axis: int, length: int, low: float, high: float) -> Map:
    shape = tuple(maps.shape[1:])
    out = DiskMap((maps.shape[0], *shape[:axis], length, *shape[axis + 1 :]))
    for part in _stripes(shape, whole=axis):
        values = _interpolated(maps[(slice(None), *part)], axis + 1, length)
        out.write((*part[:axis], slice(0, length), *part[axis + 1 :]), values.clip(low, high))
    return out


def _interpolated(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Along one axis, linearly, and without aliasing where it gets shorter."""
    before, after = prod(values.shape[:axis]), prod(values.shape[axis + 1 :])
    rows = after == 1  # they lie one after the other in memory
    flat = torch.from_numpy(values.reshape((1, 1, before, -1) if rows else (1, before, -1, after)).copy())
    size = (before, length) if rows else (length, after)
    found = interpolate(flat, size, mode="bilinear", antialias=True, align_corners=False)
    return found.numpy().reshape(*values.shape[:axis], length, *values.shape[axis + 1 :])


def _stripes(shape: Sequence[int], whole: int | None = None) -> Iterator[Window]:
    """An image in parts along its first axis, or along the second if the first is to stay whole."""
    axis = 1 if whole == 0 else 0
    step = _ROWS if len(shape) == 2 else max(1, _ROWS // shape[-2])
    for start in range(0, shape[axis], step):
        window = [slice(0, n) for n in shape]
        window[axis] = slice(start, min(start + step, shape[axis]))
        yield tuple(window)
