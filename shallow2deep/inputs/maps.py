"""Probability maps that were made elsewhere, in ilastik for example, in place of the target forest's."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.inputs.facts import RawFacts
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.names import in_order, owners, plain_stem
from shallow2deep.inputs.strokes import Strokes
from shallow2deep.io.formats import open_stored, split_name
from shallow2deep.io.hdf5 import array_at, opened
from shallow2deep.io.ilp import open_project
from shallow2deep.io.known import Known
from shallow2deep.io.stored import reading
from shallow2deep.io.volumes import Volume, members, open_frames
from shallow2deep.settings import AdaptConfig

_FULL = (1.0, 100.0, 255.0, 65535.0)  # what channels add up to as programs write them
_ROUNDING = 0.03  # by which sums of rounded channels differ, as a share
_FEW = 16  # if all whole numbers are below this, they are labels or a mask, and no probabilities


def open_maps(config: AdaptConfig, images: Sequence[Image], known: Known) -> list[Volume]:
    """The foreground's map of each part of the images, lazy, float32 in 0..1.

    Raises:
        InputError: maps that do not fit the images, or more than two classes.
    """
    if len(config.classes) != 2:
        raise InputError(
            f"probabilities stand in for a forest of two classes, but there are {config.classes}"
        )
    names = [member for name in config.target.probabilities for member in members(name)]
    found: list[tuple[Volume, str, Image]] = []
    without = list(images)
    for name in _in_order(names, images):
        frames = _frames(name, without[0], series=len(names) < len(images)) if without else []
        if not 1 <= len(frames) <= len(without):
            raise _unequal(names, images)
        found += [(volume, name, image) for volume, image in zip(frames, without, strict=False)]
        del without[: len(frames)]
    if without:
        raise _unequal(names, images)
    shared = as_shares([volume for volume, _, _ in found], known)
    return [
        part
        for (_, name, image), volume in zip(found, shared, strict=True)
        for part in _parts(volume, name, image, config)
    ]


def as_shares(volumes: Sequence[Volume], known: Known) -> list[Volume]:
    """Maps `([C,] *spatial)` as lazy views, float32 in 0..1, whatever stands for 1 in them.

    Raises:
        InputError: values that are no probabilities, or of which that is not evident.
    """
    by_type: dict[np.dtype, list[Volume]] = {}
    for volume in volumes:
        by_type.setdefault(volume.dtype, []).append(volume)
    full = {dtype: _full(of_type, known) for dtype, of_type in by_type.items()}
    return [_as_shares(volume, full[volume.dtype]) for volume in volumes]


def _in_order(names: list[str], images: Sequence[Image]) -> list[str]:
    """The maps in the images' order: by name where names tell, else as given."""
    stems = [plain_stem(split_name(name)[0].stem) for name in names]
    keys = [image.name for image in images]
    files = list(
        dict.fromkeys(plain_stem(image.file.stem) for image in images)
    )  # of a time series there is one
    known = files if owners(stems, keys) is None and owners(stems, files) is not None else keys
    return in_order(names, stems, known, "maps")


def _as_shares(volume: Volume, full: float) -> Volume:
    """A lazy view of a map as float32 in 0..1.

    Args:
        full: the value that stands for 1.
    """
    identity, read = f"{volume.identity} / {full}", partial(_read_shares, volume, full)
    return replace(volume, dtype=np.dtype(np.float32), identity=identity, _read=read)


def _read_shares(volume: Volume, full: float, window: Window) -> np.ndarray:
    return (volume.read(window).astype(np.float32) / np.float32(full)).clip(0, 1)


def _full(volumes: Sequence[Volume], known: Known) -> float:
    """The value that stands for 1 in maps `([C,] *spatial)` of one type.

    Where their channels add up to the same everywhere, it is that sum, whatever the type: 1, 100 for per
    cent, 255 …; otherwise 1 for fractions, and the largest of their type for whole numbers that come near it.

    Raises:
        InputError: values that are no probabilities, or of which that is not evident.
    """
    found = [
        known.fact(volume.file, f"map values {volume.identity}", partial(_ends_and_sums, volume))
        for volume in volumes
    ]
    first, (lows, highs, least, most) = volumes[0], zip(*found, strict=True)
    low, high, whole = min(lows), max(highs), first.dtype.kind in "ui"
    if first.dtype.kind == "b" or low < 0 or (whole and high < _FEW):
        raise _not_probabilities(first, low, high)
    if "c" in first.axes and first.shape[0] > 1 and max(most) - min(least) <= _ROUNDING * max(most):
        middle = (min(least) + max(most)) / 2
        return next((full for full in _FULL if abs(middle - full) <= _ROUNDING * full), middle)
    full = float(np.iinfo(first.dtype).max) if whole else 1.0
    if high > full * (1 + 1e-5) or (whole and high < full / 2):
        raise _not_probabilities(first, low, high)
    return full


def _ends_and_sums(volume: Volume) -> list[float]:
    """The lowest and the highest value, and the lowest and the highest sum of the channels at a pixel."""
    ends: list[float] = []
    sums: list[float] = []
    rest = (slice(None),) if "c" in volume.axes else ()
    plane = volume.grey() if not rest else volume.channel(0)
    for window, _ in plane.slabs():
        values = volume.read((*rest, *window))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{volume.name}: the map has values that are NaN or infinite; replace them")
        total = values.sum(0, dtype=np.float64) if rest else values
        ends += [float(values.min()), float(values.max())]
        sums += [float(total.min()), float(total.max())]
    return [min(ends), max(ends), min(sums), max(sums)]


def _not_probabilities(volume: Volume, low: float, high: float) -> InputError:
    return InputError(
        f"{volume.name}: values from {low:g} to {high:g} of type {volume.dtype} came, which are not "
        "evidently probabilities: in 0..1, whole shares of the type's largest, or channels with one sum were "
        "expected; export Probabilities, not labels, as floats in 0..1"
    )


def _unequal(names: Sequence[str], images: Sequence[Image]) -> InputError:
    return InputError(
        f"{len(images)} raw images but {len(names)} probability maps came; give one for each, or one for "
        "each time series"
    )


def _frames(name: str, image: Image, series: bool) -> list[Volume]:
    """The maps in a file, one for each time point; a z axis of size 1 is left out if the image has none.

    Args:
        series: whether there may be several time points.
    """
    shape = image.whole.spatial_shape
    by_shape = _axes(name, shape, series)
    frames = open_frames(name, by_shape, own_axes=True)
    if len(shape) == 2 and all(frame.ndim == 3 and frame.spatial_shape[0] == 1 for frame in frames):
        return [frame.planes()[0] for frame in frames]
    if by_shape and frames[0].spatial_shape != shape:
        return open_frames(name, by_shape)  # a TIFF's pages need not be planes
    return frames


def _parts(volume: Volume, name: str, image: Image, config: AdaptConfig) -> list[Volume]:
    """The foreground's map of each part of an image."""
    if volume.spatial_shape != image.whole.spatial_shape:
        raise InputError(
            f"{volume.name} has shape {volume.shape} but its raw image {image.whole.spatial_shape}; give the "
            "maps of the raw images"
        )
    if "c" in volume.axes:
        volume = volume.channel(_channel(name, volume.shape[0], config))
    parts = volume.planes() if image.stacked else [volume]
    if len(parts) != len(image.parts):
        raise InputError(f"{volume.name}: maps are given for whole volumes; leave out slices")
    return parts


def _axes(name: str, shape: tuple[int, ...], series: bool) -> str:
    """Of a file that states none: those by which it holds maps of raw images of this shape, else ""."""
    stored, spatial = open_stored(name).shape, "zyx"[-len(shape) :]
    sizes = dict(zip(spatial, shape, strict=True))
    for time in ("t", "") if series else ("",):
        for axes in (time + spatial, f"{time}c{spatial}", f"{time}{spatial}c"):
            if len(axes) == len(stored) and stored == tuple(map(sizes.get, axes, stored)):
                return axes
    return ""


def _channel(name: str, count: int, config: AdaptConfig) -> int:
    wanted = config.target.channel
    if wanted is None:
        if count <= 2:
            return count - 1
        raise InputError(
            f"{name} has {count} channels; state the foreground's by its number, from 0, as channel"
        )
    if isinstance(wanted, str) and count == 1:
        return 0
    if isinstance(wanted, str):
        known = _channel_names(name, config)
        if wanted not in known:
            raise InputError(
                f'{name} has no channel "{wanted}"; known are {", ".join(known)}, or 0 to {count - 1}'
            )
        if len(known) != count:
            raise InputError(
                f"{name} has {count} channels, but there are {len(known)} names: {', '.join(known)}; give "
                "the channel by its number, from 0"
            )
        wanted = known.index(wanted)
    if not 0 <= wanted < count:
        raise InputError(
            f"{name} has {count} channels; channel {wanted} was asked for, give 0 to {count - 1}"
        )
    return wanted


def _channel_names(name: str, config: AdaptConfig) -> Sequence[str]:
    """As the file, the ilastik project or the settings name them."""
    path, key = split_name(name)
    if path.suffix.lower() in (".h5", ".hdf5"):
        with reading(path), opened(path) as file:
            stored = json.loads(array_at(file, path, key).attrs.get("channels", "null"))
        if isinstance(stored, list):
            return [str(channel) for channel in stored]
    if config.target.ilp is not None:
        return open_project(config.target.ilp).label_names
    return config.classes


def check_against_strokes(
    maps: Sequence[Volume], facts: Sequence[RawFacts], strokes: Sequence[Strokes], known: Known
) -> None:
    """Whether the chosen channels are of what is painted as foreground.

    Args:
        facts: of the maps.
        strokes: of each map's plane; where there are any, they must agree with it.

    Raises:
        InputError: the wrong channel.
    """
    prints = [part.fingerprint for pair in zip(facts, strokes, strict=True) for part in pair]
    known.once(f"maps and strokes {prints}", partial(_compare_with_strokes, maps, strokes))


def _compare_with_strokes(maps: Sequence[Volume], strokes: Sequence[Strokes]) -> None:
    drawn = [(p, s.read()) for p, s in zip(maps, strokes, strict=True) if s.counts]
    means = []
    for number in (1, 2):
        found = [p.read()[s == number] for p, s in drawn if (s == number).any()]
        means.append(float(np.concatenate(found).mean()) if found else None)
    background, foreground = means
    if background is not None and foreground is not None and foreground <= background:
        raise InputError(
            f"the chosen channel has mean {foreground:.2f} under the foreground's strokes and "
            f"{background:.2f} under the background's; choose the other channel, or another background"
        )
