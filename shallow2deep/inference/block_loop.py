"""The one loop over the blocks of an image: read with halo, predict, write."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from shallow2deep.blocks import Block, Window, blocks
from shallow2deep.errors import InputError
from shallow2deep.inference.predictor import BlockSink, BlockSource, Predictor
from shallow2deep.inference.windows import Overlap
from shallow2deep.io.disk_map import DiskMap
from shallow2deep.progress import Counter, Watch

Runner = Callable[[Callable[[Block], None], Iterable[Block]], None]
"""Calls a function for each block, in any order and in any place where source and sink can be reached."""


def one_by_one(work: Callable[[Block], None], items: Iterable[Block]) -> None:
    """Runs here."""
    for item in items:
        work(item)


@dataclass(frozen=True)
class Threads:
    """Runs on several threads of this process: torch and the compiled kernels release Python's lock."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"{self.count} threads were asked for; give 1 or more")

    def __call__(self, work: Callable[[Block], None], items: Iterable[Block]) -> None:
        with ThreadPoolExecutor(self.count) as pool:
            for _ in pool.map(work, items):
                pass


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
    ndim = len(block)
    size = source.shape[len(source.shape) - ndim :]
    channels = (slice(None),) * (len(source.shape) - ndim)
    rounded = [n + -n % step for n, step in zip(size, predictor.step, strict=True)]
    inner = [n + -n % step for n, step in zip(block, predictor.step, strict=True)]
    read = _mirrored if predictor.border == "mirror" else _clipped

    def predict(part: Block) -> None:
        window = tuple(slice(s.start, min(s.stop, n)) for s, n in zip(part.inner, size, strict=True))
        if wanted(window):
            values = predictor(*read(source, channels, part, size, predictor.halo))
            kept = tuple(slice(0, s.stop - s.start) for s in window)
            sink.write(window, values[(slice(None), *kept)])
        counter.one_more()

    parts = list(blocks(rounded, inner, predictor.halo))
    counter = Counter(watch, what, len(parts))
    runner(predict, parts)


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
