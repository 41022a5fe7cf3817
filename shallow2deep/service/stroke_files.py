"""Strokes of one image that is being painted on: in memory where there are any, and on disk at once.

On disk they are an OME-Zarr, so that a stroke on a large image writes a few small files and not all of it. A
chunk that nobody painted on has no file; zarr gives each one its name when it is whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import atomic_path, sync
from shallow2deep.io.map_files import create_ome_zarr
from shallow2deep.io.volumes import open_volume

TILE = 256  # pixels along y and x
Span = tuple[int, int, int, int]
"""`(y, first x, x behind the last, value)`: pixels of a line that get a value."""
_Place = tuple[int, int, int]  # plane, and tile along y and x


@dataclass
class StrokeFile:
    """The label image of one image.

    Attributes:
        shape: `([z,] y, x)`.
        edits: how often each tile has changed since it was opened.
    """

    path: Path
    shape: tuple[int, ...]
    voxel_size: Sequence[float] | None = None
    edits: dict[_Place, int] = field(default_factory=dict)
    _tiles: dict[_Place, np.ndarray] = field(default_factory=dict)
    _array: zarr.Array | None = None

    def __post_init__(self) -> None:
        if not self.path.exists():
            return
        found = open_volume(self.path)
        if found.shape != self.shape:
            raise InputError(
                f"{self.path}: strokes of shape {found.shape} are there for an image of {self.shape}; was "
                "the image replaced? Give another --project, or move the strokes away"
            )
        array = self._opened()
        sides = array.chunks
        for window in _written_windows(self.path / "0", array.shape, sides):
            block = np.asarray(array[window], np.uint8)
            starts = [s.start for s in window]
            volume = block if block.ndim == 3 else block[None]
            z0, y0, x0 = starts if len(starts) == 3 else [0, *starts]
            for z, plane in enumerate(volume, z0):
                self._fill(z, y0, x0, plane)

    @property
    def planes(self) -> int:
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def size(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.shape[-2], self.shape[-1]

    def paint(self, z: int, spans: Sequence[Span]) -> list[Span]:
        """Gives pixels of a plane their values, in memory and on disk.

        Returns:
            What was there before, to be painted to undo it; none of pixels that had their value already.

        Raises:
            InputError: a span outside of the image; nothing is painted then.
        """
        self._check(z, spans)
        before: list[Span] = []
        for y, first, last, value in spans:
            for place, start, stop in _by_tile(z, y, first, last):
                line = self._tile(place)[y % TILE, start % TILE : start % TILE + stop - start]
                if (line != value).any():
                    before += _runs(line, y, start, value)
                    line[:] = value
                    self.edits[place] = self.edits.get(place, 0) + 1
        if before:
            self._write(z, before)
        return before[::-1]  # where spans overlap, the first one's comes last

    def painted(self) -> Iterator[tuple[_Place, np.ndarray]]:
        """Tiles that have strokes, uint8 `(y, x)`, cut off at the image's border."""
        for place, tile in sorted(self._tiles.items()):
            if tile.any():
                yield place, tile[self._within(place)]

    def window(self, z: int, rows: slice, columns: slice) -> np.ndarray:
        """Values of a part of a plane, uint8 `(y, x)`."""
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        for y in range(rows.start // TILE, -(-rows.stop // TILE)):
            for x in range(columns.start // TILE, -(-columns.stop // TILE)):
                tile = self._tiles.get((z, y, x))
                if tile is None:
                    continue
                top, left = max(y * TILE, rows.start), max(x * TILE, columns.start)
                bottom, right = min((y + 1) * TILE, rows.stop), min((x + 1) * TILE, columns.stop)
                part = tile[top - y * TILE : bottom - y * TILE, left - x * TILE : right - x * TILE]
                out[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = (
                    part
                )
        return out

    def overview(self, z: int, level: int, y: int, x: int) -> np.ndarray:
        """A tile uint8 `(TILE, TILE)` whose pixels are each the largest value of 2**level along y and x."""
        step, out = 2**level, np.zeros((TILE, TILE), np.uint8)
        for (plane, row, column), tile in self._tiles.items():
            if plane != z or (row >> level, column >> level) != (y, x):
                continue
            side = max(1, TILE // step)
            small = tile.reshape(side, TILE // side, side, TILE // side).max((1, 3))
            top, left = (row * TILE // step) % TILE, (column * TILE // step) % TILE
            place = out[top : top + side, left : left + side]
            np.maximum(place, small, out=place)
        return out

    def counts(self, most: int) -> list[int]:
        """Painted pixels of each class, from 1 to `most`."""
        total = np.zeros(most + 1, np.int64)
        for _, tile in self.painted():
            total += np.bincount(tile.ravel(), minlength=most + 1)[: most + 1]
        return [int(n) for n in total[1:]]

    def _check(self, z: int, spans: Iterable[Span]) -> None:
        height, width = self.size
        for y, first, last, _ in spans:
            if not (0 <= z < self.planes and 0 <= y < height and 0 <= first < last <= width):
                raise InputError(
                    f"pixels {first} to {last} of line {y} in plane {z} came, of an image of shape "
                    f"{self.shape}; paint within it"
                )

    def _fill(self, z: int, top: int, left: int, values: np.ndarray) -> None:
        """Takes over a part of a plane, in memory alone."""
        for y, x in {(y // TILE, x // TILE) for y, x in np.add(np.argwhere(values), (top, left))}:
            rows, columns = (
                slice(max(n * TILE - start, 0), (n + 1) * TILE - start) for n, start in ((y, top), (x, left))
            )
            part = values[rows, columns]
            row, column = top + rows.start - y * TILE, left + columns.start - x * TILE
            self._tile((z, int(y), int(x)))[row : row + part.shape[0], column : column + part.shape[1]] = part

    def _tile(self, place: _Place) -> np.ndarray:
        return self._tiles.setdefault(place, np.zeros((TILE, TILE), np.uint8))

    def _within(self, place: _Place) -> tuple[slice, slice]:
        _, y, x = place
        height, width = self.size
        return slice(0, height - y * TILE), slice(0, width - x * TILE)

    def _opened(self) -> zarr.Array:
        if self._array is None:
            if not self.path.exists():
                with atomic_path(self.path) as temporary:
                    name = self.path.stem
                    create_ome_zarr(temporary, self.shape, np.dtype(np.uint8), self.voxel_size, name, _ABOUT)
            self._array = zarr.open_array(str(self.path), mode="r+", path="0")
        return self._array

    def _write(self, z: int, spans: Iterable[Span]) -> None:
        """Writes the chunks that have these pixels."""
        array = self._opened()
        depth, height, width = (1, *array.chunks)[-3:]
        numbers = {
            (z // depth, y // height, column)
            for y, first, last, _ in spans
            for column in range(first // width, (last - 1) // width + 1)
        }
        for chunk in sorted(numbers):
            window = _window(chunk, (depth, height, width), (self.planes, *self.size))
            block = np.stack([self.window(plane, *window[1:]) for plane in range(self.planes)[window[0]]])
            array[window[-len(self.shape) :]] = block if len(self.shape) == 3 else block[0]
            file = self.path / "0" / Path(*map(str, chunk[-len(self.shape) :]))
            if file.exists():  # zarr removes a chunk that is empty again
                sync(file)


_ABOUT = {"image-label": {"version": "0.4"}}


def _by_tile(z: int, y: int, first: int, last: int) -> Iterator[tuple[_Place, int, int]]:
    """The parts of a line in each tile."""
    for column in range(first // TILE, -(-last // TILE)):
        yield (z, y // TILE, column), max(first, column * TILE), min(last, (column + 1) * TILE)


def _runs(line: np.ndarray, y: int, start: int, value: int) -> Iterator[Span]:
    """Stretches of equal values other than `value`."""
    ends = [*(np.flatnonzero(np.diff(line)) + 1).tolist(), len(line)]
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        if line[first] != value:
            yield y, start + first, start + last, int(line[first])


def _written_windows(
    folder: Path, shape: Sequence[int], chunks: Sequence[int]
) -> Iterator[tuple[slice, ...]]:
    """Of the chunks that have a file."""
    for file in sorted(folder.glob("/".join("*" * len(shape)))):
        numbers = file.relative_to(folder).parts
        if file.is_file() and all(part.isdecimal() for part in numbers):
            yield _window([int(n) for n in numbers], chunks, shape)


def _window(numbers: Sequence[int], chunks: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Of a chunk."""
    return tuple(
        slice(n * side, min((n + 1) * side, end)) for n, side, end in zip(numbers, chunks, shape, strict=True)
    )
