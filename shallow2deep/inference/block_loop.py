"""The one loop over the blocks of an image: read with halo, predict, write."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shallow2deep.blocks import Block, Window, blocks
from shallow2deep.inference.predictor import BlockSink, BlockSource, Predictor
from shallow2deep.inference.runners import Threads as Threads
from shallow2deep.inference.windows import Overlap
from shallow2deep.io.disk_map import DiskMap
from shallow2deep.progress import Counter, Watch

Runner = Callable[[Callable[[Block], None], Iterable[Block]], None]
"""Calls a function for each block, in any order and in any place where source and sink can be reached."""


def one_by_one(work: Callable[[Block], None], items: Iterable[Block]) -> None:
    """Runs here."""
    for item in items:
        work(item)


_UNIT = np.float32(2**23)  # in steps of its inverse, float32 adds values up to 2 exactly, in any order


def predict_windows(
    predictor: Predictor,
    source: BlockSource,
    sink: BlockSink,
    size: Sequence[int],
    overlap: Overlap,
    runner: Runner = one_by_one,
    watch: Watch | None = None,
    what: str = "windows",
) -> None:
    """Predicts an image in windows that overlap, each without what is around it; writes their weighted mean.

    The sums are kept on disk, and are the same bytes for any runner.

    Args:
        predictor: gives values from 0 to 1.
        source: `([C,] *spatial)`.
        size: pixels of a window per axis; rounded up to the predictor's step.
        watch, what: who is told how many of a large image's windows are done, and by what name.

    Raises:
        InputError: an overlap that does not fit the windows.
    """
    ndim = len(size)
    shape = source.shape[len(source.shape) - ndim :]
    channels = (slice(None),) * (len(source.shape) - ndim)
    windows = overlap.windows(shape, [n + -n % step for n, step in zip(size, predictor.step, strict=True)])
    sums, lock = list[DiskMap](), threading.Lock()

    def predict(part: Block) -> None:
        values = predictor(*_mirrored(source, channels, part, shape, (0,) * ndim))
        kept = values[(slice(None), *part.local)] * windows.share(part.outer)
        with lock:
            if not sums:
                sums.append(DiskMap.zeros((len(kept), *shape)))
            before = sums[0][(slice(None), *part.outer)]
            sums[0].write(part.outer, before + np.rint(kept * _UNIT) / _UNIT)
        counter.one_more()

    def parts() -> Iterable[Block]:
        for window in windows:
            sizes = [s.stop - s.start for s in window]  # smaller than the predictor's step in small images
            rounded = [n + -n % step for n, step in zip(sizes, predictor.step, strict=True)]
            inner = tuple(slice(s.start, s.start + n) for s, n in zip(window, rounded, strict=True))
            yield Block(inner, window, tuple(slice(0, n) for n in sizes))

    counter = Counter(watch, what, len(windows))
    runner(predict, parts())
    for block in blocks(shape, windows.size, (0,) * ndim):
        sink.write(block.inner, sums[0][(slice(None), *block.inner)].clip(0, 1))


def predict_blocks(
    predictor: Predictor,
    source: BlockSource,
    sink: BlockSink,
    block: Sequence[int],
    runner: Runner = one_by_one,
    wanted: Callable[[Window], bool] = lambda window: True,
    watch: Watch | None = None,
    what: str = "blocks",
    overlap: Overlap | None = None,
) -> None:
    """Predicts an image block by block, with the result of the whole image at once.

    Blocks start at multiples of the predictor's step, so that a network's pooling meets the same pixels in
    every block as in the whole image.

    Args:
        source: `([C,] *spatial)`.
        block: pixels per axis that are predicted at a time; rounded up to the predictor's step.
        wanted: which blocks, by their windows, are predicted at all.
        watch, what: who is told how many of a large image's blocks are done, and by what name.
        overlap: see `predict_windows`, which then predicts all of it in windows of this size.
    """
    if overlap is not None:
        predict_windows(predictor, source, sink, block, overlap, runner, watch, what)
        return
    work = BlockWork(predictor, source, sink, tuple(block))

    def predict(part: Block) -> None:
        if wanted(work.window(part)):
            work(part)
        counter.one_more()

    counter = Counter(watch, what, len(work))
    runner(predict, work.parts())


@dataclass(frozen=True)
class BlockWork:
    """What is done for each block of an image; can be sent to other processes if all that it holds can.

    Attributes:
        source: `([C,] *spatial)`.
        block: pixels per axis that are predicted at a time; rounded up to the predictor's step.
    """

    predictor: Predictor
    source: BlockSource
    sink: BlockSink
    block: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Of the image along each spatial axis."""
        return self.source.shape[len(self.source.shape) - len(self.block) :]

    def parts(self) -> Iterator[Block]:
        """All blocks, in multiples of the predictor's step, which may go beyond the image."""
        return blocks(self._rounded(self.size), self._rounded(self.block), self.predictor.halo)

    def __len__(self) -> int:
        sizes = zip(self._rounded(self.size), self._rounded(self.block), strict=True)
        return math.prod(-(-n // block) for n, block in sizes)

    def _rounded(self, sizes: Sequence[int]) -> list[int]:
        return [n + -n % step for n, step in zip(sizes, self.predictor.step, strict=True)]

    def window(self, part: Block) -> Window:
        """Where a block's result is written."""
        return tuple(slice(s.start, min(s.stop, n)) for s, n in zip(part.inner, self.size, strict=True))

    def __call__(self, part: Block) -> None:
        """Reads, predicts and writes a block."""
        channels = (slice(None),) * (len(self.source.shape) - len(self.block))
        read = _mirrored if self.predictor.border == "mirror" else _clipped
        window = self.window(part)
        values = self.predictor(*read(self.source, channels, part, self.size, self.predictor.halo))
        kept = tuple(slice(0, s.stop - s.start) for s in window)
        self.sink.write(window, values[(slice(None), *kept)])


def _clipped(
    source: BlockSource, channels: Window, part: Block, size: Sequence[int], halo: Sequence[int]
) -> tuple[np.ndarray, Window]:
    """A block with its halo as far as the image goes, and where in it the inner window is."""
    return source.read((*channels, *part.outer)), part.local


def _mirrored(
    source: BlockSource, channels: Window, part: Block, size: Sequence[int], halo: Sequence[int]
) -> tuple[np.ndarray, Window]:
    """A block with its whole halo, beyond the border mirrored."""
    places = [
        _reflected(np.arange(s.start - h, s.stop + h), n)
        for s, h, n in zip(part.inner, halo, size, strict=True)
    ]
    present = tuple(slice(int(place.min()), int(place.max()) + 1) for place in places)
    values = source.read((*channels, *present))
    for axis, (place, s) in enumerate(zip(places, present, strict=True), len(channels)):
        if len(place) != s.stop - s.start or place[0] != s.start or (np.diff(place) < 0).any():
            values = values.take(place - s.start, axis)
    local = tuple(slice(h, h + s.stop - s.start) for h, s in zip(halo, part.inner, strict=True))
    return values, local


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    """Positions on an axis that goes on mirrored at both ends, as numpy's mode "reflect"."""
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)
