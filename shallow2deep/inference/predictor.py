"""What a block loop applies: one block of an image in, one block of a map out."""

import math
import threading
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.io.disk_map import Map
from shallow2deep.io.memory import require_memory
from shallow2deep.outputs import Output


@runtime_checkable
class Predictor(Protocol):
    """Forest, enhancer and segmentor. It can be pickled, to be sent to where the blocks are.

    Attributes:
        halo: pixels per axis that a block needs on each side.
        step: pixels per axis of which blocks are multiples; 1 where any size will do.
        border: what lies beyond the image: "clip", nothing, so that blocks at the border come smaller; or
            "mirror", the image mirrored, so that all blocks come with their whole halo.
        outputs: what each channel of a result tells.
    """

    @property
    def halo(self) -> Sequence[int]: ...

    @property
    def step(self) -> Sequence[int]: ...

    @property
    def border(self) -> Literal["clip", "mirror"]: ...

    @property
    def outputs(self) -> Sequence[Output]: ...

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        """The map of a part of a block.

        Args:
            block: raw or maps, `([C,] *spatial)`, with the halo.
            inner: which part of it, over the spatial axes, is wanted.

        Returns:
            float32 `(len(outputs), *inner)`.
        """
        ...


class BlockSource(Protocol):
    """What blocks are read from: a volume, or an array as `ArraySource`; `([C,] *spatial)`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self, window: Window) -> np.ndarray: ...


class BlockSink(Protocol):
    """What results are written to; blocks come in any order, each once."""

    def write(self, window: Window, values: np.ndarray) -> None:
        """`values` `(K, *window)`; the window is over the spatial axes."""
        ...


class ArraySource:
    """An array in memory, or a map on disk."""

    def __init__(self, array: Map):
        self._array = array
        self.shape = array.shape

    def read(self, window: Window) -> np.ndarray:
        return self._array[window]


class ArraySink:
    """Results in memory: `array`, float32 `(K, *spatial)`, made when the first block tells K."""

    array: np.ndarray

    def __init__(self, shape: Sequence[int]):
        self._shape, self._lock = tuple(shape), threading.Lock()

    def write(self, window: Window, values: np.ndarray) -> None:
        with self._lock:
            if not hasattr(self, "array"):
                require_memory(4 * len(values) * math.prod(self._shape), "the map of an image")
                self.array = np.empty((len(values), *self._shape), np.float32)
        self.array[(slice(None), *window)] = values
