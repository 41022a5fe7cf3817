"""Sources of blocks that are computed from others when they are read, window by window."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.predictor import BlockSource
from shallow2deep.outputs import Output, complete, completed


@dataclass(frozen=True)
class Concatenated:
    """The channels of several sources `(K, *spatial)`, one after the other."""

    sources: tuple[BlockSource, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(one.shape[0] for one in self.sources), *self.sources[0].shape[1:])

    def read(self, window: Window) -> np.ndarray:
        all_ = [one.read((slice(0, one.shape[0]), *window[1:])) for one in self.sources]
        return np.concatenate(all_)[window[0]]


@dataclass(frozen=True)
class Picked:
    """Some of the channels of a source, in another order."""

    source: BlockSource
    channels: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.channels), *self.source.shape[1:])

    def read(self, window: Window) -> np.ndarray:
        first, last = min(self.channels), max(self.channels) + 1
        values = self.source.read((slice(first, last), *window[1:]))
        return values[[n - first for n in self.channels][window[0]]]


@dataclass(frozen=True)
class Completed:
    """A map with the channels that are written, see `outputs.complete`."""

    source: BlockSource
    outputs: tuple[Output, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(completed(self.outputs, "")), *self.source.shape[1:])

    def read(self, window: Window) -> np.ndarray:
        whole = self.source.read((slice(0, self.source.shape[0]), *window[1:]))
        return complete(whole, self.outputs)[window[0]]


@dataclass(frozen=True)
class Grey:
    """Raw `([C,] *spatial)` as the mean of its channels, float64 `(1, *spatial)`."""

    source: BlockSource
    ndim: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, *self.source.shape[len(self.source.shape) - self.ndim :])

    def read(self, window: Window) -> np.ndarray:
        channels = (slice(None),) * (len(self.source.shape) - self.ndim)
        values = self.source.read((*channels, *window[1:]))
        return values.reshape(-1, *values.shape[len(channels) :]).mean(0, dtype=np.float64)[None]


@dataclass(frozen=True)
class Normalised:
    """A source, shifted and scaled by known moments, float32."""

    source: BlockSource
    moments: Moments

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, window: Window) -> np.ndarray:
        return self.moments.standardised(self.source.read(window))


@dataclass(frozen=True)
class Standardised:
    """A source with mean 0 and deviation 1, float32; the file holds `[number, sum, sum of squares]`."""

    source: BlockSource
    sums: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, window: Window) -> np.ndarray:
        count, total, squares = numbers_in(self.sums)
        moments = Moments.of_sums([(int(count), total, squares)])
        return moments.standardised(self.source.read(window))


@dataclass(frozen=True)
class Weighed:
    """The mean of maps of one shape; the file holds a weight for each."""

    maps: tuple[BlockSource, ...]
    weights: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.maps[0].shape

    def read(self, window: Window) -> np.ndarray:
        weights = numbers_in(self.weights)
        total: np.ndarray | float = 0.0
        for one, weight in zip(self.maps, weights, strict=True):
            total = total + one.read(window) * np.float64(weight)
        return np.asarray(total / sum(weights), np.float32)


@dataclass(frozen=True)
class Halved:
    """A source at a lower resolution: means of as many pixels as `factors` say, along each spatial axis."""

    source: BlockSource
    factors: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = zip(self.source.shape[1:], self.factors, strict=True)
        return (self.source.shape[0], *(-(-n // factor) for n, factor in sizes))

    def read(self, window: Window) -> np.ndarray:
        places = list(zip(window[1:], self.factors, self.source.shape[1:], strict=True))
        inner = tuple(slice(s.start * f, min(s.stop * f, n)) for s, f, n in places)
        values = self.source.read((window[0], *inner))
        missing = [
            (0, (s.stop - s.start) * f - (i.stop - i.start))
            for (s, f, _), i in zip(places, inner, strict=True)
        ]
        values = np.pad(values, [(0, 0), *missing], mode="edge")
        for axis, factor in enumerate(self.factors, 1):
            parts = values.reshape(*values.shape[:axis], -1, factor, *values.shape[axis + 1 :])
            values = parts.mean(axis + 1, dtype=np.float32)
        return values


@dataclass(frozen=True)
class Resized:
    """A source of another size, linearly, and without aliasing where it gets smaller.

    Each window is computed from what it needs, and as torch's `interpolate` (bilinear, antialias) does
    with the whole, also in its rounding: axis by axis, the last one first.
    """

    source: BlockSource
    size: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.source.shape[0], *self.size)

    def read(self, window: Window) -> np.ndarray:
        old = self.source.shape[1:]
        if old == self.size:
            return self.source.read(window)
        taps = [_taps(s, n, m) for s, n, m in zip(window[1:], old, self.size, strict=True)]
        needed = tuple(slice(int(first[0]), int(last[-1])) for first, last, _ in taps)
        values = self.source.read((window[0], *needed))
        for axis in reversed(range(len(old))):
            if old[axis] != self.size[axis]:
                values = _along(values, axis + 1, needed[axis].start, *taps[axis])
                values = values.clip(self.low, self.high)
        return values


_Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


def _taps(part: slice, old: int, new: int) -> _Taps:
    """Of some of the new pixels, the first old one that counts, that behind the last one, and weights.

    Triangles of the width of a new pixel, at least of an old one, in float32 as in torch's `UpSampleKernel`.

    Returns:
        whole numbers `(n,)` twice, and float32 `(n, k)`, 0 beyond the last one.
    """
    if old == new:
        places = np.arange(part.start, part.stop)
        return places, places + 1, np.ones((len(places), 1), np.float32)
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(old) / np.float32(new)
    support, inverse = max(scale, one), one / max(scale, one)
    centres = scale * (np.arange(part.start, part.stop).astype(np.float32) + half)
    first = np.maximum((centres - support + half).astype(np.int64), 0)
    last = np.minimum((centres + support + half).astype(np.int64), old)
    steps = np.arange(int((last - first).max()))
    places = ((steps + first[:, None]).astype(np.float32) - centres[:, None] + half) * inverse
    weights = np.where(steps < (last - first)[:, None], np.maximum(one - np.abs(places), 0), 0)
    return first, last, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _along(
    values: np.ndarray, axis: int, start: int, first: np.ndarray, last: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    shape = [-1 if n == axis else 1 for n in range(values.ndim)]
    total: np.ndarray | float = 0.0
    for tap in range(weights.shape[1]):
        places = np.minimum(first + tap, last - 1) - start
        total = total + values.take(places, axis) * weights[:, tap].reshape(shape)
    return np.asarray(total, np.float32)


def numbers_in(file: Path) -> Sequence[float]:
    """What an earlier step came to."""
    found: list[float] = json.loads(file.read_text())
    return found
