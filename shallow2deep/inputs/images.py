"""Raw images: names opened, cut into planes where networks see planes, and checked."""

import csv
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.inputs.facts import RawFacts
from shallow2deep.io.cache import ReadCache
from shallow2deep.io.disk_map import Map
from shallow2deep.io.formats import split_name
from shallow2deep.io.known import Known
from shallow2deep.io.memory import require_memory
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.settings import ImageTable, RawData

log = logging.getLogger(__name__)


_LONGEST = 150  # bytes of an image's name: files hold 255, and results have endings and temporary names


@dataclass(frozen=True)
class Image:
    """One input file: what is written for it, and the images it is predicted by.

    Attributes:
        name: for the output file, without ending; differs from those of the run's other images.
        file: where it is read from.
        parts: the image itself, or the planes of a volume; `([C,] *spatial)` each.
        stacked: whether `parts` are planes, to be put together along z.
        whole: all of it as one.
        facts: of each of `parts`.
    """

    name: str
    file: Path
    parts: list[Volume]
    stacked: bool
    voxel_size: tuple[float, ...] | None
    whole: Volume
    facts: list[RawFacts]

    def predict(self, predict: Callable[[np.ndarray], Map], ndim: int) -> Map:
        """`predict` of all parts, or of the whole volume where it works on `ndim` 3.

        Args:
            predict: from raw `([C,] *spatial)` to `(K, *spatial)`.

        Returns:
            float32 `(K, [z,] *spatial)`.
        """
        if self.stacked and ndim == 3:
            return predict(self.whole.read())
        results = (predict(part.read()) for part in self.parts)
        return self.join(results)

    def join(self, results: Iterable[Map]) -> Map:
        """The parts' results as one array."""
        if not self.stacked:
            return next(iter(results))
        out: np.ndarray | None = None
        for z, result in enumerate(results):
            if out is None:
                shape = (len(result), len(self.parts), *result.shape[1:])
                require_memory(4 * int(np.prod(shape)), f"the result for {self.name}")
                out = np.empty(shape, np.float32)
            out[:, z] = np.asarray(result)
        assert out is not None, "an image without parts"
        return out

    def split(self, probabilities: np.ndarray) -> list[np.ndarray]:
        """The reverse of `join`."""
        return list(np.moveaxis(probabilities, 1, 0)) if self.stacked else [probabilities]


def open_images(
    data: RawData,
    ndim: int,
    channels: str | Sequence[str | int] = "grey",
    known: Known | None = None,
    in_memory: bool = True,
) -> list[Image]:
    """The raw images of `data`, checked, each with a name of its own.

    Args:
        channels: see `in_channels`.
        known: what was found out about the files before.
        in_memory: whether images are kept there after the first reading, as far as there is room.

    Raises:
        InputError: anything that cannot be used.
    """
    images: list[Image] = []
    names: set[str] = set()
    known, cache = known or Known(), ReadCache()
    volumes = open_raw_volumes(data)
    used = [in_channels(volume, channels) for volume in volumes]
    if channels == "grey":
        tell_of_colours(volumes, "target.channels: each keeps the channels, and [0] takes the first")
    for volume, colours in zip(volumes, used, strict=True):
        parts = images_of(colours, ndim, data.slices)
        parts = [cache.keep(part) for part in parts] if in_memory else parts
        name = new_name(volume.file.stem + volume.time_suffix, names)
        images.append(image_of(name, volume.file, colours, parts, volume.ndim > ndim, known))
    return images


def in_channels(volume: Volume, channels: str | Sequence[str | int]) -> Volume:
    """A lazy view of the channels that are used.

    Args:
        channels: "grey", "each" to keep a channel axis, or names or numbers of channels, see `Volume.pick`.
    """
    if isinstance(channels, str):
        return volume if channels == "each" else volume.grey()
    return volume.pick(channels)


def tell_of_colours(volumes: Sequence[Volume], cure: str) -> None:
    """Says once which of several images lose their colours.

    Args:
        cure: how to keep them.
    """
    coloured = [volume for volume in volumes if "c" in volume.axes and volume.shape[0] in (3, 4)]
    if coloured:
        log.info(
            "%s%s in colour, read as grey (luma%s); %s",
            coloured[0].name,
            " is" if len(coloured) == 1 else f" and {len(coloured) - 1} more are",
            ", alpha is left out" if any(volume.shape[0] == 4 for volume in coloured) else "",
            cure,
        )


def image_of(name: str, file: Path, whole: Volume, parts: list[Volume], stacked: bool, known: Known) -> Image:
    """One input, checked.

    Raises:
        InputError: a value is NaN or infinite.
    """
    facts = [RawFacts.of(part, known) for part in parts]
    return Image(name, file, parts, stacked, whole.voxel_size, whole, facts)


def new_name(stem: str, names: set[str]) -> str:
    """The stem, or with the next number if that is taken; it is then in `names`.

    Of a stem so long that names of results could not be written, the beginning, and a checksum of it all.
    """
    if len(stem.encode()) > _LONGEST:
        short = stem.encode()[: _LONGEST - 9].decode(errors="ignore")
        stem = f"{short}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    name = next(name for name in _numbered(stem) if name not in names)
    names.add(name)
    return name


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{n}" for n in count(2))


def require_writable(targets: Iterable[Path]) -> None:
    """Whether results can be written, before they are made.

    Raises:
        InputError: naming the folder, or the file that is in the way of one.
    """
    for folder in {target.parent for target in targets}:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir():
            raise InputError(f"{folder}: {there} is a file, where a folder is to be; give another --out")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: nothing may be written into {there}; give another --out")


def refuse_overwriting(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Keeps results from taking the place of what they are made from.

    Raises:
        InputError: naming the input.
    """
    sources = [path.resolve() for path in inputs]
    for target in targets:
        file = split_name(str(target))[0].resolve()
        if hit := [path for path in sources if path in (file, *file.parents) or file in path.parents]:
            raise InputError(f"{target} would overwrite {hit[0]}; give another --out")


def open_raw_volumes(data: RawData) -> list[Volume]:
    """The arrays that hold the raw images, as they are.

    Raises:
        InputError: also for slices of what has no planes.
    """
    volumes = select(open_volumes(data.raw, data.axes, data.voxel_size), data.manifest)
    flat = [volume.name for volume in volumes if volume.ndim == 2]
    if flat and data.slices is not None:
        raise InputError(f"{flat[0]} has no planes to choose slices {data.slices} from; leave out slices")
    return volumes


def images_of(volume: Volume, ndim: int, slices: str | tuple[int, ...] | None) -> list[Volume]:
    """The volume itself, or its planes where images are 2D."""
    if volume.ndim < ndim:
        raise InputError(f"{volume.name} has axes {volume.axes}; volumes were expected: give z, y and x")
    if volume.ndim == ndim == 2:
        return [volume]
    depth = volume.spatial_shape[0]
    wanted = chosen_slices(slices, depth, volume.name)
    if ndim == 2:
        planes = volume.planes()
        return [planes[z] for z in wanted]
    if slices is None:
        return [volume]
    if list(wanted) != list(range(wanted[0], wanted[-1] + 1)):
        raise InputError(f"slices {slices} of {volume.name} leave gaps; for ndim 3 give one range")
    whole = [slice(0, n) for n in volume.spatial_shape[1:]]
    return [volume.crop((slice(wanted[0], wanted[-1] + 1), *whole))]


def chosen_slices(slices: str | tuple[int, ...] | None, depth: int, name: str) -> Sequence[int]:
    """The z indices that `"0:16"`, `"0:100:5"`, `"3,5"` or `(0, 7)` mean, all within `depth`.

    >>> list(chosen_slices("2:8:3", 10, "stack.tif")), list(chosen_slices("0,7", 10, "stack.tif"))
    ([2, 5], [0, 7])
    """
    if slices is None:
        return range(depth)
    try:
        if isinstance(slices, str) and ":" in slices:
            parts = slice(*(int(s) if s.strip() else None for s in slices.split(":")))
            wanted: Sequence[int] = range(depth)[parts] if (parts.stop or 0) <= depth else [depth]
        else:
            wanted = [int(s) for s in (slices.split(",") if isinstance(slices, str) else slices)]
    except (ValueError, TypeError):
        raise InputError(f'slices "{slices}" were not understood; give "0:16" or "0,7,14"') from None
    if not wanted or min(wanted) < 0 or max(wanted) >= depth:
        raise InputError(f"slices {slices} do not fit {name}, which has {depth} planes")
    return wanted


def select(volumes: list[Volume], manifest: ImageTable | None) -> list[Volume]:
    """The volumes whose file name starts with the `stem` of a fitting row of the manifest."""
    if manifest is None:
        return volumes
    try:
        with Path(manifest.file).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise MissingDataError(f"{manifest.file}: there is no such table; check manifest.file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{manifest.file}: cannot be read as a CSV table ({error}); check manifest.file"
        ) from None
    for column in ("stem", *manifest.where):
        if not rows or column not in rows[0]:
            raise InputError(
                f'{manifest.file}: no column "{column}"; there are {list(rows[0]) if rows else []}'
            )
    stems = [row["stem"] for row in rows if all(row[column] == v for column, v in manifest.where.items())]
    pattern = re.compile(f"(?:{'|'.join(map(re.escape, stems))})(?![A-Za-z0-9])")
    chosen = [v for v in volumes if stems and pattern.match(Path(v.name).name)]
    if not chosen:
        raise InputError(f"{manifest.file}: no image fits {manifest.where}; check manifest.where and raw")
    return chosen
