"""Windows that overlap: cut out of an image, and put together as a weighted mean.

The scheme is that of qlty (github.com/phzwart/qlty), for any number of axes: windows start at a fixed step,
the last one steps back so that it ends with the data, and pixels near a window's border count less.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.memory import require_memory

_LEAST = 2.0**-26  # weight of a border of weight 0: it counts only where there is nothing else


@dataclass(frozen=True)
class Windows:
    """Windows of one size over an image.

    Iteration gives a slice per axis for each, in scan order.

    Attributes:
        shape: pixels of the image per axis.
        size: of a window.
        step: from the start of a window to that of the next.
        border: pixels at each side of a window that count less, also at the border of the image; () for none.
        border_weight: how much these count, from 0 (where nothing else is only) to 1 (as all others).

    >>> [(w.start, w.stop) for (w,) in Windows((10,), (4,), (3,))]
    [(0, 4), (3, 7), (6, 10)]
    >>> [(w.start, w.stop) for (w,) in Windows((9,), (4,), (3,))]
    [(0, 4), (3, 7), (5, 9)]
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[int, ...]
    border: tuple[int, ...] = ()
    border_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shape", "size", "step", "border"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        object.__setattr__(self, "border", self.border or (0,) * len(self.shape))
        axes = [len(self.shape), len(self.size), len(self.step), len(self.border)]
        if len(set(axes)) > 1 or not self.shape:
            raise InputError(
                f"shape, size, step and border of windows have {axes} axes; give as many for each, 1 or more"
            )
        if any(size > n for size, n in zip(self.size, self.shape, strict=True)):
            raise InputError(
                f"windows of {self.size} pixels came for an image of {self.shape}; give windows no larger "
                "than it"
            )
        if any(not 0 < step <= size for step, size in zip(self.step, self.size, strict=True)):
            raise InputError(
                f"a step of {self.step} pixels came for windows of {self.size}; give at least 1, and no more "
                "than their size, so that nothing is left out"
            )
        if any(not 0 <= 2 * b < size for b, size in zip(self.border, self.size, strict=True)):
            raise InputError(
                f"a border of {self.border} pixels came for windows of {self.size}; give less than half of "
                "them, so that something lies within"
            )
        if not 0 <= self.border_weight <= 1:
            raise InputError(f"a weight of borders of {self.border_weight} came; give one from 0 to 1")

    @cached_property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """Of the windows along each axis."""
        ends = [n - size for n, size in zip(self.shape, self.size, strict=True)]
        return tuple((*range(0, end, step), end) for end, step in zip(ends, self.step, strict=True))

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    def __iter__(self) -> Iterator[Window]:
        for start in product(*self.starts):
            yield tuple(slice(a, a + n) for a, n in zip(start, self.size, strict=True))

    @property
    def duplication(self) -> float:
        """How many windows a pixel lies in, on average."""
        return len(self) * math.prod(self.size) / math.prod(self.shape)

    @cached_property
    def within(self) -> np.ndarray:
        """Which pixels of a window do not lie in its border, bool `(*size)`."""
        found = np.zeros(self.size, bool)
        found[tuple(slice(b, n - b) for b, n in zip(self.border, self.size, strict=True))] = True
        return found

    @cached_property
    def weight(self) -> np.ndarray:
        """Of the pixels of a window, float32 `(*size)`."""
        return np.where(self.within, np.float32(1), np.float32(max(self.border_weight, _LEAST)))

    @cached_property
    def _counts(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """How many windows cover each place of each axis: with their borders, and without.

        The first axis is scaled, so that products over the axes are sums of weights: see `total`.
        """
        whole, inner = ([np.zeros(n, np.float32) for n in self.shape] for _ in range(2))
        for axis, starts in enumerate(self.starts):
            size, border = self.size[axis], self.border[axis]
            for start in starts:
                whole[axis][start : start + size] += 1
                inner[axis][start + border : start + size - border] += 1
        least = np.float32(max(self.border_weight, _LEAST))
        whole[0] *= least
        inner[0] *= 1 - least
        return whole, inner

    def total(self, window: Window) -> np.ndarray:
        """The sum of all windows' weights in a part of the image, float32.

        A window weighs w in its border and 1 within: w everywhere, and 1 - w within. Both parts are products
        of numbers along the axes, and so are their sums over windows: no array of the whole is needed.
        """
        whole, inner = (
            reduce(np.multiply.outer, [one[s] for one, s in zip(counts, window, strict=True)])
            for counts in self._counts
        )
        return whole + inner

    def share(self, window: Window) -> np.ndarray:
        """How much of the mean a window is at each of its pixels, float32 `(*size)`; all together are 1."""
        total = self.total(window)
        return np.divide(self.weight, total, out=total)

    def split(self, image: Any) -> np.ndarray:
        """All windows of an image.

        Args:
            image: `(..., *shape)`, an array in memory or of zarr.

        Returns:
            `(n, ..., *size)` of the same type.

        Raises:
            InputError: the image has another shape, or all windows together are too large.
        """
        return self._cut(image, list(self))

    def _cut(self, image: Any, places: Sequence[Window]) -> np.ndarray:
        self._require(image.shape, self.shape, "an image")
        shape = (len(places), *image.shape[: image.ndim - len(self.shape)], *self.size)
        require_memory(math.prod(shape) * image.dtype.itemsize, "the windows of an image")
        out = np.empty(shape, image.dtype)
        for part, window in zip(out, places, strict=True):
            part[...] = image[(..., *window)]
        return out

    def stitch(self, parts: Iterable[np.ndarray], out: Any = None) -> Any:
        """The weighted mean of windows, such as those that a network made of what `split` gave.

        Args:
            parts: `(..., *size)` for each window, in their order; an array, or one after the other.
            out: zeros `(..., *shape)`, such as an array of zarr, that get the mean; a new array if not given.

        Returns:
            `out`, of floats `(..., *shape)`.

        Raises:
            InputError: other shapes, or another number of windows.
        """
        if out is not None:
            self._require(out.shape, self.shape, "out")
        windows = iter(self)
        for part in parts:
            window = next(windows, None)
            if window is None:
                raise InputError(f"more than {len(self)} windows came; give one for each")
            self._require(part.shape, self.size, "a window")
            if out is None:
                shape = (*part.shape[: part.ndim - len(self.size)], *self.shape)
                kind = np.result_type(part.dtype, np.float32)
                require_memory(math.prod(shape) * kind.itemsize, "an image put together from windows")
                out = np.zeros(shape, kind)
            place = (..., *window)
            out[place] += part * self.share(window)
        if left := sum(1 for _ in windows):
            raise InputError(f"{len(self) - left} windows came where there are {len(self)}; give all of them")
        return out

    def _require(self, shape: Sequence[int], expected: tuple[int, ...], what: str) -> None:
        if tuple(shape[len(shape) - len(expected) :]) != expected:
            raise InputError(f"{what} of shape {tuple(shape)} came; give one that ends in {expected}")

    def observed(self, labels: np.ndarray, unlabelled: float = 0) -> np.ndarray:
        """Windows of labels `(n, ..., *size)` with their borders unlabelled, so that a loss ignores these.

        What lies near a window's border is predicted without all that is around it.
        """
        self._require(labels.shape, self.size, "windows of labels")
        return np.where(self.within, labels, np.asarray(unlabelled, labels.dtype))

    def labelled(self, image: Any, labels: Any, unlabelled: float = 0) -> "LabelledWindows":
        """The windows to train on: those with a label within their border.

        Args:
            image: `(..., *shape)`.
            labels: `(..., *shape)`.
            unlabelled: the value of pixels without a label.

        Raises:
            InputError: other shapes.
        """
        found = [((labels[(..., *window)] != unlabelled) & self.within).any() for window in self]
        kept = np.array(found, bool)
        places = [window for window, keep in zip(self, kept, strict=True) if keep]
        truths = self.observed(self._cut(labels, places), unlabelled)
        return LabelledWindows(self._cut(image, places), truths, kept, self.duplication)


@dataclass(frozen=True)
class Overlap:
    """That images are predicted in windows that overlap, in place of blocks with a halo.

    Attributes:
        pixels: that a window shares with the next one along each axis; half of them are its border.
        border_weight: how much that border counts, from 0 to 1.
    """

    pixels: int
    border_weight: float = 0.1

    def windows(self, shape: Sequence[int], size: Sequence[int]) -> Windows:
        """Those over an image, no larger than it.

        Raises:
            InputError: they would overlap as a whole, or the weight is none.
        """
        if not 0 <= self.pixels < min(size):
            raise InputError(
                f"an overlap of {self.pixels} pixels came for windows of {tuple(size)}; give at least 0, and "
                "less than they have"
            )
        fitting = tuple(min(n, m) for n, m in zip(shape, size, strict=True))
        step = tuple(n - self.pixels if n > self.pixels else n for n in fitting)
        border = tuple(self.pixels // 2 if 2 * (self.pixels // 2) < n else 0 for n in fitting)
        return Windows(tuple(shape), fitting, step, border, self.border_weight)


@dataclass(frozen=True)
class LabelledWindows:
    """Windows to train on.

    Attributes:
        images: `(m, ..., *size)`.
        labels: `(m, ..., *size)`, unlabelled in the border.
        kept: which of all windows these are, bool `(n,)`.
        duplication: how many of all windows a pixel lies in, on average.
    """

    images: np.ndarray
    labels: np.ndarray
    kept: np.ndarray
    duplication: float

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        return (
            f"{len(self)} of {len(self.kept)} windows have labels; a pixel lies in {self.duplication:.2f} "
            "windows on average"
        )
