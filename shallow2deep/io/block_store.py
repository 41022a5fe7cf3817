"""Arrays of zarr that blocks are written into, and the folder that a map grows in until it is whole."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from shallow2deep.blocks import Window
from shallow2deep.errors import DamagedFileError, InputError, NotFiniteError
from shallow2deep.io.atomic import put_in_place, read_json, room_for, sweep, sync, write_json
from shallow2deep.io.stored import reading

_FAST: dict[str, Any] = {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1}
_KEY, _JOURNAL = "settings.json", "done.jsonl"


@dataclass(frozen=True)
class StoredArray:
    """An array `(K, *spatial)` of zarr; can be sent to other processes that see the same folder.

    Whoever writes has chunks of his own, as two who change one would undo each other's work: a window that
    cuts a chunk in two is refused.

    Attributes:
        place: the folder of the array.
        block: pixels of a chunk along each spatial axis, all channels; needed by `create` only.
        plane: if given, what is meant is this plane across the first spatial axis.
    """

    place: Path
    shape: tuple[int, ...]
    block: tuple[int, ...] = ()
    plane: int | None = None

    def create(self) -> None:
        """Makes the array, of float32, unless it is there."""
        if (self.place / ".zarray").is_file():
            return
        chunks = (self.shape[0], *(min(n, m) for n, m in zip(self.shape[1:], self.block, strict=True)))
        with room_for(self.place):
            zarr.create_array(
                str(self.place), shape=self.shape, dtype=np.float32, chunks=chunks, compressors=_FAST,
                chunk_key_encoding={"name": "v2", "separator": "/"}, zarr_format=2, fill_value=0,
                overwrite=True,
            )  # fmt: skip

    def at_plane(self, number: int) -> "StoredArray":
        """Of a volume `(K, z, *spatial)`, one plane `(K, *spatial)`."""
        return replace(self, shape=(self.shape[0], *self.shape[2:]), plane=number)

    def read(self, window: Window) -> np.ndarray:
        """See `BlockSource`."""
        with reading(self.place):
            found = np.asarray(self._array[self._whole(window)])
        return found if self.plane is None else found[:, 0]

    def write(self, window: Window, values: np.ndarray) -> None:
        """See `BlockSink`; what is written is on the disk then.

        Raises:
            InputError: the window cuts a chunk in two.
            NotFiniteError: a value is NaN or infinite; NoRoomError: the disk is full.
        """
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise NotFiniteError(f"{self.place}: the map has values that are NaN or infinite")
        array, whole = self._array, self._whole((slice(0, len(values)), *window))
        require_own_chunks(whole, array.chunks, array.shape)
        values = values if self.plane is None else values[:, None]
        with room_for(self.place, values.nbytes):
            array[whole] = values
            ranges = (range(s.start // n, -(-s.stop // n)) for s, n in zip(whole, array.chunks, strict=True))
            for chunk in product(*ranges):
                file = self.place / array.metadata.encode_chunk_key(chunk)
                if file.exists():  # what is zero everywhere is not stored
                    sync(file)

    def _whole(self, window: Window) -> Window:
        """A window of the array, with bounds."""
        bounds = tuple(slice(*s.indices(n)) for s, n in zip(window, self.shape, strict=True))
        return bounds if self.plane is None else (bounds[0], slice(self.plane, self.plane + 1), *bounds[1:])

    @property
    def _array(self) -> zarr.Array[Any]:
        return _opened(str(self.place), (self.place / ".zarray").stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _opened(place: str, changed: int) -> zarr.Array[Any]:
    """As it was made at that time: one that is begun anew may have another shape."""
    return zarr.open_array(place, mode="r+")


def require_own_chunks(window: Window, chunks: Sequence[int], shape: Sequence[int]) -> None:
    """Refuses to write a part of a chunk.

    Raises:
        InputError: naming both.
    """
    for s, chunk, n in zip(window, chunks, shape, strict=True):
        if s.start % chunk or (s.stop % chunk and s.stop != n):
            raise InputError(
                f"a block at {s.start} to {s.stop} came for chunks of {chunk}; blocks must be multiples of "
                "chunks, as two that write into one would undo each other's work"
            )


class Unfinished:
    """A folder beside a zarr that is made, with what is done of it: the same work goes on there.

    Args:
        target: gets its name when it is whole.
        key: JSON-able, tells settings, data and model; what was begun with another one is begun anew.

    Attributes:
        map: where the zarr grows.
        scratch: a folder for arrays that are needed meanwhile.
        anew: whether what was there was of another key.
    """

    def __init__(self, target: Path, key: Mapping[str, Any]):
        self.target, self.folder = target, folder_of(target)
        self.map, self.scratch = self.folder / "map.zarr", self.folder / "scratch"
        file = self.folder / _KEY
        known = read_json(file) if file.is_file() else None
        self._journal = self.folder / _JOURNAL
        over = self._journal.exists() and not self.map.exists()  # killed when the map had just got its name
        same = known == json.loads(json.dumps(key)) and not over
        self.anew = self.folder.exists() and not same and not over
        if not same:
            for decided in (file, self._journal):  # first: what is half removed must not be gone on with
                decided.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.scratch.mkdir(parents=True, exist_ok=True)
            write_json(file, key)
        sweep(self.folder, alone=True)

    def done(self) -> dict[str, Any]:
        """The pieces that are done, and what they came to; half a line at the end does not count."""
        if not self._journal.is_file():
            return {}
        whole, end, half = self._journal.read_bytes().rpartition(b"\n")
        if half:
            os.truncate(self._journal, len(whole) + len(end))
        try:
            return {str(piece): result for piece, result in map(json.loads, whole.splitlines())}
        except (ValueError, TypeError):
            raise DamagedFileError(f"{self._journal}: cannot be read; remove {self.folder}") from None

    def note(self, pieces: Sequence[tuple[str, Any]]) -> None:
        """Notes that pieces are done, and what they came to."""
        lines = "".join(json.dumps(piece) + "\n" for piece in pieces).encode()
        with room_for(self._journal, len(lines)), self._journal.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Gives the zarr its name, and removes the folder."""
        sweep(self.map, alone=True)
        put_in_place(self.map, self.target)
        shutil.rmtree(self.folder)


def folder_of(target: Path) -> Path:
    """Where a zarr of that name grows."""
    return target.with_name(f".{target.name}.unfinished")
