"""Maps that memory need not hold."""

import threading
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, Self

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.io.atomic import room_for
from shallow2deep.io.memory import require_memory
from shallow2deep.outputs import Output, complete, is_exclusive

_IN_MEMORY = 2**24  # bytes of a map up to which no file is made
_ROWS = 512  # of a 2D map that are in memory at a time


class DiskMap:
    """float32 `(K, *spatial)` in a temporary file that has no name, and so is gone with the process.

    Parts are written and read from any thread; what is read was written before. Small maps stay in memory.
    `np.asarray` gives the whole.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self._file, self._lock = SpooledTemporaryFile(_IN_MEMORY), threading.Lock()  # noqa: SIM115
        self._start = 0

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Self:
        """A map of zeros, which need not be written.

        Raises:
            NoRoomError: the disk with temporary files is full.
        """
        made = cls(shape)
        with room_for(Path(gettempdir()) / "map", made.nbytes):
            made._file.seek(made.nbytes - 1)
            made._file.write(b"\0")
        return made

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return 4 * prod(self.shape)

    def channel(self, number: int) -> Self:
        """One channel, `(1, *spatial)`, in the same place."""
        one = object.__new__(type(self))
        one.shape, one._file, one._lock = (1, *self.shape[1:]), self._file, self._lock
        one._start = self._start + 4 * number * prod(self.shape[1:])
        return one

    def write(self, window: Window, values: np.ndarray) -> None:
        """See `BlockSink`.

        Raises:
            NoRoomError: the disk with temporary files is full.
        """
        data = np.ascontiguousarray(values, np.float32)
        length, places = self._runs((slice(0, len(data)), *window))
        with self._lock, room_for(Path(gettempdir()) / "map", self.nbytes):
            for place, run in zip(places, data.reshape(-1, length), strict=True):
                self._file.seek(place)
                self._file.write(run.data)

    def __getitem__(self, window: Window, /) -> np.ndarray:
        """A part, by one slice of step 1 for each axis, or for the first ones."""
        bounds = [slice(*s.indices(n)) for s, n in zip(window, self.shape, strict=False)]
        bounds += [slice(0, n) for n in self.shape[len(bounds) :]]
        out = np.empty([s.stop - s.start for s in bounds], np.float32)
        length, places = self._runs(bounds)
        with self._lock:
            for place, run in zip(places, out.reshape(-1, length), strict=True):
                self._file.seek(place)
                run[:] = np.frombuffer(self._file.read(run.nbytes), np.float32)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        require_memory(self.nbytes, "the map of an image")
        return self[(slice(None),)].astype(dtype or np.float32, copy=False)

    def _runs(self, bounds: Sequence[slice]) -> tuple[int, Iterator[int]]:
        """How many values of a part lie together in the file, and where each such run begins."""
        sizes = [prod(self.shape[axis + 1 :]) for axis in range(self.ndim)]
        axis = self.ndim - 1  # along which runs go; those behind it are whole
        while axis > 0 and bounds[axis].stop - bounds[axis].start == self.shape[axis]:
            axis -= 1
        ranges = [range(s.start * n, s.stop * n, n) for s, n in zip(bounds[:axis], sizes, strict=False)]
        first = bounds[axis].start * sizes[axis]
        places = (self._start + 4 * (first + sum(outer)) for outer in product(*ranges))
        return (bounds[axis].stop - bounds[axis].start) * sizes[axis], places


Map = np.ndarray | DiskMap
"""An array, or what gives parts of itself as one does; `(K, *spatial)`."""


def complete_map(p: Map, outputs: Sequence[Output]) -> Map:
    """See `outputs.complete`; with no whole map in memory, if it was not."""
    if is_exclusive(outputs):
        return p
    if isinstance(p, np.ndarray):
        return complete(p, outputs)
    _, n, *others = p.shape
    step = _ROWS if len(others) == 1 else 1
    out = DiskMap((len(outputs) + 1, n, *others))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        out.write((rows, *(slice(0, m) for m in others)), complete(p[slice(None), rows], outputs))
    return out
