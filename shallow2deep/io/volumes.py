"""Volumes: arrays in files of any known format, with named axes, read lazily and window by window."""

import glob
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from shallow2deep.axes import canonical, check_axes, infer_axes, spatial
from shallow2deep.blocks import Window, blocks
from shallow2deep.errors import DamagedFileError, InputError, MissingDataError
from shallow2deep.io.formats import ENDINGS, check_ending, open_stored, split_name
from shallow2deep.io.memory import require_memory
from shallow2deep.io.remote import is_remote
from shallow2deep.io.stored import Stored, size_in_bytes

_SLAB = 64 * 2**20  # bytes read at once where a whole volume is gone through
_MAX_PLANES = 1_000_000
_MAX_UNIT = 2**30  # bytes of a chunk or page; more only if the array has them
_UNSET = (1.0, 1e3, 1e6)  # nm; programs write a size of 1 in whatever unit where they know none
_LISTED = 20  # channels that are named
_COLOURS = frozenset({"red", "green", "blue", "alpha", "Red", "Green", "Blue", "Alpha", "R", "G", "B", "A"})
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Volume:
    """An array in a file, or a part of one.

    Attributes:
        name: as the user typed it; for a folder or a pattern, the path of the member; then the time point
            or plane.
        axes: those of "czyx" that there are, in this order.
        dtype: numeric or bool, native byte order.
        voxel_size: nm along each spatial axis; None if unknown.
        file: what it is read from.
        time: its number in a time series, from 0; None if the file holds one time point.
        identity: which values of which file it holds: the same for the same part, however it was opened.
        indices: of a whole picture whose pixels are numbers of colours, these numbers, `(y, x)` uint8.
        channels: the names of all channels; empty if the file does not state them.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    voxel_size: tuple[float, ...] | None
    file: Path
    time: int | None
    identity: str
    _read: Callable[[Window], np.ndarray] = field(repr=False, compare=False)
    indices: "Volume | None" = field(default=None, repr=False, compare=False)
    channels: tuple[str, ...] = ()

    @property
    def spatial_axes(self) -> str:
        """Axes without the channel."""
        return spatial(self.axes)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without the channel."""
        return self.shape[len(self.shape) - self.ndim :]

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.spatial_axes)

    @property
    def time_suffix(self) -> str:
        """What tells the results of a series' time points apart: "_t3"; empty if there is one only."""
        return "" if self.time is None else f"_t{self.time}"

    def read(self, window: Window | None = None) -> np.ndarray:
        """Reads a window over all axes, or everything.

        Returns:
            a new contiguous array of `dtype`; values are not checked (see `check_finite`).

        Raises:
            InputError: the window lies outside or memory does not suffice; DamagedFileError.
        """
        return np.ascontiguousarray(self._read(self._inside(window, self.shape)), self.dtype)

    def crop(self, window: Window) -> "Volume":
        """A lazy view of a window over the spatial axes."""
        window = self._inside(window, self.spatial_shape)
        shape = (*self.shape[: len(self.shape) - self.ndim], *(s.stop - s.start for s in window))
        starts = [s.start for s in window]
        identity = f"{self.identity} {starts}+{list(shape)}"
        read = partial(_read_crop, self, starts)
        return replace(self, shape=shape, identity=identity, indices=None, _read=read)

    def planes(self) -> "list[Volume]":
        """Lazy 2D views along z; the volume itself if it is 2D."""
        if "z" not in self.axes:
            return [self]
        at = self.axes.index("z")
        flat = replace(
            self,
            axes=self.axes.replace("z", ""),
            shape=self.shape[:at] + self.shape[at + 1 :],
            voxel_size=self.voxel_size and self.voxel_size[1:],
        )
        return [
            replace(
                flat,
                name=f"{self.name} z={z}",
                identity=f"{self.identity} z={z}",
                _read=partial(_read_plane, self, at, z),
            )
            for z in range(self.shape[at])
        ]

    def grey(self) -> "Volume":
        """A lazy view without the channel axis; RGB becomes its luma (float32), alpha is left out.

        Raises:
            InputError: for any number of channels but 1, 3 and 4, and for channels whose names are none of
                colours.
        """
        if "c" not in self.axes:
            return self
        if self.shape[0] not in (1, 3, 4) or (self.shape[0] > 1 and not _COLOURS.issuperset(self.channels)):
            raise InputError(
                f"{self.name}: {self.shape[0]} channels came ({self._listed_channels}), but grey (1) or RGB "
                "(3 or 4) was expected; choose what to use by channels, e.g. channels: [0]"
            )
        dtype = self.dtype if self.shape[0] == 1 else np.dtype(np.float32)
        return replace(
            self,
            axes=self.axes[1:],
            shape=self.shape[1:],
            dtype=dtype,
            identity=f"{self.identity} grey",
            indices=None,
            channels=(),
            _read=partial(_read_grey, self),
        )

    def channel(self, number: int) -> "Volume":
        """A lazy view of one channel."""
        return replace(
            self,
            name=f"{self.name} c={number}",
            identity=f"{self.identity} c={number}",
            axes=self.axes[1:],
            shape=self.shape[1:],
            indices=None,
            channels=self.channels[number : number + 1],
            _read=partial(_read_plane, self, 0, number),
        )

    def changed(
        self, change: Callable[[np.ndarray, Window], np.ndarray], dtype: np.dtype, how: str
    ) -> "Volume":
        """A lazy view of what `change` makes of each window's values; `how` tells it from other views."""
        read = partial(_read_changed, self, change)
        return replace(self, dtype=dtype, identity=f"{self.identity} {how}", indices=None, _read=read)

    def pick(self, wanted: Sequence[str | int]) -> "Volume":
        """A lazy view of some channels, in the order that is wanted; of one, without the channel axis.

        Args:
            wanted: names as the file states them, or numbers from 0.

        Raises:
            InputError: there is no such channel, or more than one of that name.
        """
        numbers = [self._number_of(one) for one in wanted]
        if "c" not in self.axes:
            return self
        if len(numbers) == 1:
            return replace(self.channel(numbers[0]), name=self.name)
        return replace(
            self,
            identity=f"{self.identity} c={numbers}",
            shape=(len(numbers), *self.shape[1:]),
            indices=None,
            channels=tuple(self.channels[n] for n in numbers) if self.channels else (),
            _read=partial(_read_channels, self, numbers),
        )

    def _number_of(self, channel: str | int) -> int:
        """The number of a channel; names such as 488 come before numbers."""
        count = self.shape[0] if "c" in self.axes else 1
        if self.channels.count(str(channel)) == 1:
            return self.channels.index(str(channel))
        if isinstance(channel, int) and 0 <= channel < count and str(channel) not in self.channels:
            return channel
        raise InputError(
            f'{self.name}: there is no one channel "{channel}"; give the name or number of one of: '
            f"{self._listed_channels}"
        )

    @property
    def _listed_channels(self) -> str:
        count = self.shape[0] if "c" in self.axes else 1
        names = self.channels or [""] * count
        listed = [f"{n} {name}".strip() for n, name in enumerate(names[:_LISTED])]
        return ", ".join([*listed, *(["…"] if count > _LISTED else [])])

    def fingerprint(self) -> str:
        """sha256 of data type, axes, shape and content: the same for the same content in any file format."""
        digest = self.digest()
        for _, values in self.slabs():
            digest.update(self.portable(values).data)
        return digest.hexdigest()

    def digest(self) -> Any:
        """The beginning of a fingerprint: of data type, axes and shape."""
        dtype = self.dtype.newbyteorder("<").str
        return hashlib.sha256(json.dumps([dtype, self.axes, self.shape]).encode())

    def portable(self, values: np.ndarray) -> np.ndarray:
        """Values of this volume as every machine has them in a fingerprint."""
        return values.astype(self.dtype.newbyteorder("<"), copy=False)

    def slabs(self) -> Iterator[tuple[Window, np.ndarray]]:
        """Windows and values, of bounded size, which one after the other are the volume in C order."""
        for window in _slab_windows(self.shape, self.dtype):
            yield window, self.read(window)

    def _inside(self, window: Window | None, shape: tuple[int, ...]) -> Window:
        """The window with all starts and stops filled in, checked against `shape`."""
        window = (slice(None),) * len(shape) if window is None else window
        full = tuple(
            slice(s.start or 0, n if s.stop is None else s.stop, s.step)
            for s, n in zip(window, shape, strict=False)
        )
        fits = (
            s.step in (None, 1) and 0 <= s.start <= s.stop <= n for s, n in zip(full, shape, strict=False)
        )
        if len(window) != len(shape) or not all(fits):
            raise InputError(f"{self.name}: the window {window} does not lie within {shape}; take one inside")
        return full


def open_volume(
    name: str | Path, axes: str | None = None, voxel_size: Sequence[float] | None = None
) -> Volume:
    """Opens one array; nothing but its metadata is read.

    Args:
        name: `file.h5:inner/path`, `file.zarr:key`, `file.tif` or `file.tif:series`, `file.czi:scene`, or a
            PNG, JPEG, BMP, MRC or npy file.
        axes: one letter for each axis of the file, in its order; from the file, or inferred, if not given.
        voxel_size: nm along z, y, x or y, x; from the file if not given.

    Raises:
        InputError: what the file has, or what was stated, cannot be used; DamagedFileError.
    """
    name = str(name)
    stored = _open_numbers(name)
    file_axes = _file_axes(stored, axes, name)
    return _volume(name, stored, file_axes, voxel_size)


def open_frames(name: str | Path, axes: str, own_axes: bool = False) -> list[Volume]:
    """The time points of one array, each as a volume of its own; nothing but its metadata is read.

    Args:
        name: see `open_volume`.
        axes: as known from elsewhere, with or without "t"; those of the file if their number does not fit,
            where a "c" may be one too many.
        own_axes: whether those that the file states come before `axes`.

    Raises:
        InputError, DamagedFileError: see `open_volume`.
    """
    name = str(name)
    stored = _open_numbers(name)
    fitting = [known for known in (axes, axes.replace("c", "")) if len(known) == len(stored.shape)]
    stated = stored.axes if stored.axes and len(stored.axes) == len(stored.shape) else ""
    known = stated if own_axes and stated else fitting[0] if fitting else stated
    return _time_points(name, stored, known, None)


def _time_points(name: str, stored: Stored, known: str, voxel_size: Sequence[float] | None) -> list[Volume]:
    """The array itself, or each time point of a series."""
    at = known.lower().find("t")
    if at < 0 or len(known) != len(stored.shape):
        return [_volume(name, stored, _file_axes(stored, known or None, name), voxel_size)]
    rest = known[:at] + known[at + 1 :]
    letters = check_axes(rest, stored.shape[:at] + stored.shape[at + 1 :], name)
    series = partial(_volume, name, stored, f"{letters[:at]}t{letters[at:]}", voxel_size)
    if stored.shape[at] == 1:
        return [series()]
    return [
        replace(volume, name=f"{name} t={time}", time=time, identity=f"{volume.identity} t={time}")
        for time in range(stored.shape[at])
        for volume in [series(time)]
    ]


def _open_numbers(name: str) -> Stored:
    stored = open_stored(name)
    if stored.dtype.kind not in "buif" or 0 in stored.shape:
        raise InputError(
            f"{name}: {stored.dtype} of shape {stored.shape} came, but numbers were expected; choose an "
            "array of real numbers that is not empty"
        )
    if stored.unit_bytes > max(_MAX_UNIT, size_in_bytes(stored.shape, stored.dtype)):
        raise DamagedFileError(
            f"{name}: shape {stored.shape} came in pieces of {stored.unit_bytes / 1e9:.1f} GB, more than all "
            "of it; save it in smaller chunks"
        )
    return stored


def _volume(
    name: str, stored: Stored, file_axes: str, voxel_size: Sequence[float] | None, time: int = 0
) -> Volume:
    planes = math.prod(int(n) for a, n in zip(file_axes, stored.shape, strict=True) if a not in "yx")
    if planes > _MAX_PLANES:  # their names alone would fill the memory
        raise InputError(
            f"{name}: shape {stored.shape} has {planes} planes; give a part of at most {_MAX_PLANES}"
        )
    order = canonical(file_axes)
    dtype = np.dtype(stored.dtype.str).newbyteorder("=")
    shape = tuple(int(stored.shape[file_axes.index(a)]) for a in order)
    size = _voxel_size(stored, voxel_size, spatial(order), name)
    read = partial(_read_file, name, stored, file_axes, order, time)
    file, key = split_name(name)
    identity = f"{file.resolve()}:{key or ''} {file_axes}"
    count = shape[0] if "c" in order else 1
    channels = stored.channels if len(stored.channels) == count else ()
    volume = Volume(name, order, shape, dtype, size, file, None, identity, read, channels=channels)
    if stored.indices is None:
        return volume
    numbers = Stored(stored.shape[:2], np.dtype(np.uint8), stored.indices, "yx")
    return replace(volume, indices=_volume(name, numbers, "yx", None))


def open_volumes(
    names: str | Path | Sequence[str | Path],
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> list[Volume]:
    """Opens several arrays, see `open_volume`: all members of folders and patterns, in natural order, and all
    time points of series.

    Raises:
        InputError: also if a folder or pattern has no member.
    """
    several = [names] if isinstance(names, str | Path) else names
    opened = ((member, _open_numbers(member)) for name in several for member in members(str(name)))
    return [
        volume
        for member, stored in opened
        for volume in _time_points(member, stored, axes or stored.axes or "", voxel_size)
    ]


def check_finite(volume: Volume) -> None:
    """Goes through a volume of floats.

    Raises:
        InputError: naming the first position that is NaN or infinite.
    """
    if volume.dtype.kind == "f":
        for window, values in volume.slabs():
            check_values(volume, window, values)


def check_values(volume: Volume, window: Window, values: np.ndarray) -> None:
    """See `check_finite`, of a window that was read."""
    finite = np.isfinite(values)
    if not finite.all():
        first = np.unravel_index(np.argmin(finite), finite.shape)
        position = tuple(int(i) + s.start for i, s in zip(first, window, strict=True))
        raise InputError(
            f"{volume.name}: the value at {position} ({volume.axes}) is NaN or infinite; replace such values"
        )


def members(name: str) -> list[str]:
    """The names that a folder or pattern stands for, in natural order; the name itself if it is neither.

    Raises:
        InputError: a folder or pattern without a file to read.
    """
    if is_remote(name):
        return [name]
    path, key = split_name(name)
    if path.suffix.lower() == ".n5":
        check_ending(path)
    if path.is_dir() and path.suffix.lower() != ".zarr":
        inside = sorted(p for p in path.iterdir() if p.name[0] != ".")
        found = [str(p) for p in inside if p.suffix.lower() in ENDINGS]
        missing = "the folder has none"
    elif any(c in str(path) for c in "*?[") and not path.exists():
        found, missing = _matching(path)
    else:
        return [name]
    if not found:
        raise MissingDataError(
            f"{name}: there is no file to read, as {missing}; check the path and the pattern"
        )
    return [f"{member}:{key}" if key else member for member in natsorted(sorted(found))]


def _matching(pattern: Path) -> tuple[list[str], str]:
    """What fits a pattern; and, if nothing does, what did not.

    What is there as it is named is no pattern, so that folders may have brackets in their names.
    """
    base, rest = Path(pattern.anchor), list(pattern.relative_to(pattern.anchor).parts)
    while rest and (base / rest[0]).exists():
        base /= rest.pop(0)
    inner = str(Path(*rest))
    for wanted in (inner, inner.replace("[", "[[]")):
        found = glob.glob(f"{glob.escape(str(base))}/{wanted}", recursive=True)  # noqa: PTH207 - also absolute
        if found:
            return [str(Path(member)) for member in found], ""
    return [], f'nothing in {base} is called "{inner}"'


def _file_axes(stored: Stored, stated: str | None, name: str) -> str:
    """The checked axes of the file, in its order; a "t" of size 1 is kept if the file states it."""
    known, shape, time = stored.axes or "", stored.shape, -1
    if len(known) == len(shape):
        time = known.lower().find("t")
    if time < 0 or shape[time] > 1:
        return check_axes(stated or known or infer_axes(shape, name), shape, name)
    rest = stated or known[:time] + known[time + 1 :]
    letters = check_axes(rest, shape[:time] + shape[time + 1 :], name)
    return f"{letters[:time]}t{letters[time:]}"


def _voxel_size(
    stored: Stored, stated: Sequence[float] | None, axes: str, name: str
) -> tuple[float, ...] | None:
    known = [stored.voxel_size.get(a, 0.0) for a in axes]
    if len(set(known)) == 1 and known[0] in _UNSET:
        known = []
    sizes = tuple(float(v) for v in (known if stated is None else stated))
    if len(sizes) == len(axes) and all(0 < v < math.inf for v in sizes):
        return sizes
    if stated is None:
        return None
    raise InputError(
        f"{name}: voxel size {stated} came, but one size in nm along each of {axes} was expected; correct it"
    )


def _slab_windows(shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Window]:
    """Windows whose contents, one after the other, are the volume's content in C order."""
    rest = [size_in_bytes(shape[d + 1 :], dtype) for d in range(len(shape))]
    axis = next(d for d, n in enumerate(rest) if n <= _SLAB or d == len(shape) - 1)
    block = (*(1,) * axis, max(1, _SLAB // rest[axis]), *shape[axis + 1 :])
    return (b.inner for b in blocks(shape, block, (0,) * len(shape)))


# Readers are functions with their arguments bound, not closures, so that volumes can go to other processes.


def _read_file(name: str, stored: Stored, file_axes: str, axes: str, time: int, window: Window) -> np.ndarray:
    by_axis = dict(zip(axes, window, strict=True)) | {"t": slice(time, time + 1)}
    shape = tuple(s.stop - s.start for s in window)
    require_memory(size_in_bytes(shape, stored.dtype) + stored.unit_bytes, f"{name}: reading {shape}")
    array = stored.read(tuple(by_axis[a] for a in file_axes))
    array = array.transpose([file_axes.index(a) for a in (*axes, *set(file_axes) - set(axes))])
    if array.size != math.prod(shape) or array.shape[: len(shape)] != shape:
        raise DamagedFileError(f"{name}: its header does not fit its content; give a whole file")
    return array.reshape(shape)


def _read_crop(volume: Volume, offset: list[int], window: Window) -> np.ndarray:
    offsets = [0] * (len(window) - len(offset)) + offset
    return volume.read(tuple(slice(s.start + o, s.stop + o) for s, o in zip(window, offsets, strict=True)))


def _read_changed(
    volume: Volume, change: Callable[[np.ndarray, Window], np.ndarray], window: Window
) -> np.ndarray:
    return change(volume.read(window), window)


def _read_plane(volume: Volume, at: int, z: int, window: Window) -> np.ndarray:
    return volume.read((*window[:at], slice(z, z + 1), *window[at:])).squeeze(at)


def _read_channels(volume: Volume, numbers: list[int], window: Window) -> np.ndarray:
    return np.concatenate([volume.read((slice(n, n + 1), *window[1:])) for n in numbers[window[0]]])


def _read_grey(volume: Volume, window: Window) -> np.ndarray:
    channels = volume.read((slice(None), *window))
    if len(channels) == 1:
        return channels[0]
    # one product after the other: a matrix product may round differently for another window
    red, green, blue = (w * c.astype(np.float32) for w, c in zip(_LUMA, channels, strict=False))
    return red + green + blue
