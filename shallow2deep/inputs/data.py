"""The settings' names of data, opened, matched and checked, before any work starts."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shallow2deep.settings import Manifest, RawData, SourceData, TargetData
from shallow2deep.errors import InputError
from shallow2deep.inputs.strokes import read_strokes
from shallow2deep.io.volumes import Volume, check_finite, open_volumes
from shallow2deep.inputs.names import in_order, owners, plain_name


@dataclass(frozen=True)
class Labelled:
    """A raw image with its dense labels, both lazy."""

    raw: Volume
    labels: Volume
    instances: bool

    def classes(self, window: tuple[slice, ...] | None = None) -> np.ndarray:
        """The number of each pixel's class, uint8 `(*spatial)`."""
        labels = self.labels.read(window)
        return (labels > 0).astype(np.uint8) if self.instances else labels.astype(np.uint8)

    @cached_property
    def deviation(self) -> float:
        """The standard deviation of raw."""
        return float(self.raw.read().std())

    def noisy(self, window: tuple[slice, ...], level: float, rng: np.random.Generator) -> np.ndarray:
        """Raw with Gaussian noise of `level` deviations; raw as it is for level 0."""
        raw = self.raw.read(window)
        if level == 0:
            return raw
        return raw + np.float32(level * self.deviation) * rng.standard_normal(raw.shape, np.float32)


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


def open_raws(data: RawData, ndim: int) -> list[Volume]:
    """The raw images, single-channel and of `ndim` dimensions; a volume gives its planes for ndim 2.

    Raises:
        InputError: anything that cannot be used.
    """
    return _grey_images(open_raw_volumes(data), data, ndim)


def _grey_images(volumes: Sequence[Volume], data: RawData, ndim: int) -> list[Volume]:
    raws = [image.grey() for volume in volumes for image in images_of(volume, ndim, data.slices)]
    for raw in raws:
        check_finite(raw)
    return raws


def open_source(data: SourceData, ndim: int, n_classes: int) -> list[Labelled]:
    """The labelled images of one source.

    Raises:
        InputError: anything that cannot be used, such as shapes that differ or values that are no class.
    """
    raw_volumes = open_raw_volumes(data)
    raws = _grey_images(raw_volumes, data, ndim)
    volumes = select(open_volumes(data.labels, data.label_axes, data.voxel_size), data.manifest)
    names, keys = [plain_name(volume) for volume in volumes], [plain_name(raw) for raw in raw_volumes]
    ordered = in_order(volumes, names, keys, "labels")
    labels = [image.grey() for volume in ordered for image in images_of(volume, ndim, data.slices)]
    if len(raws) != len(labels):
        raise InputError(f"{len(raws)} raw images but {len(labels)} label images came; give one for each")
    pairs = [Labelled(r, t, data.label_values == "instances") for r, t in zip(raws, labels, strict=True)]
    present = set[int]().union(*(_checked_values(pair, n_classes) for pair in pairs))
    if len(present) < 2:
        raise InputError(
            f"the labels {', '.join(data.labels)} have one class only, number {min(present)}; "
            "give images with objects and background"
        )
    return pairs


def _checked_values(pair: Labelled, n_classes: int) -> set[int]:
    """The numbers of the classes that an image's labels have, once they were found to be usable."""
    raw, labels = pair.raw, pair.labels
    if raw.spatial_shape != labels.spatial_shape:
        raise InputError(
            f"{raw.name} has shape {raw.spatial_shape} but its labels {labels.name} {labels.spatial_shape}; "
            "give labels of the raw's shape"
        )
    if labels.dtype.kind not in "uib":
        raise InputError(f"{labels.name}: labels are whole numbers, not {labels.dtype}; convert them")
    values = labels.read()
    if values.min() < 0 or (not pair.instances and values.max() >= n_classes):
        raise InputError(
            f"{labels.name}: values {values.min()} to {values.max()} came, but 0 to {n_classes - 1} were "
            "expected; set classes, or label_values to instances"
        )
    return set(np.unique(values > 0 if pair.instances else values).astype(int).tolist())


def open_strokes(
    data: TargetData, ndim: int, classes: Sequence[str], raws: Sequence[Volume]
) -> list[np.ndarray]:
    """The strokes of each raw image, uint8 `(*spatial)`: 0 or a class number from 1."""
    volumes = open_volumes(data.strokes, data.stroke_axes)
    names, keys = [plain_name(volume) for volume in volumes], [plain_name(raw) for raw in raws]
    numbers = owners(names, keys) if all(volume.ndim == ndim for volume in volumes) else None
    if numbers is not None:
        painted = [raws[number] for number in numbers]
        found = read_strokes(volumes, painted, _mapping(data, classes), classes)
        out = [np.zeros(raw.spatial_shape, np.uint8) for raw in raws]
        for number, drawn in zip(numbers, found, strict=True):
            out[number] = drawn
        return out
    if 1 < len(volumes) < len(raws):
        raise InputError(
            f"{len(volumes)} stroke images came for {len(raws)} raw images, and names do not tell which "
            "belong together; name them alike, or give one for each"
        )
    volumes = in_order(volumes, names, keys, "strokes")
    strokes = [image for volume in volumes for image in images_of(volume, ndim, None)]
    if data.slices is not None and len(strokes) != len(raws):
        # strokes given for the whole volume: take the planes that the raw is taken from
        strokes = [image for volume in volumes for image in images_of(volume, ndim, data.slices)]
    return read_strokes(strokes, raws, _mapping(data, classes), classes)


def _mapping(data: TargetData, classes: Sequence[str]) -> Mapping[int, int]:
    return data.stroke_classes or {n: n for n in range(1, len(classes) + 1)}


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
    """The z indices that `"0:16"`, `"0:100:5"`, `"3,5"` or `(0, 7)` mean, all within `depth`."""
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


def select(volumes: list[Volume], manifest: Manifest | None) -> list[Volume]:
    """The volumes whose file name starts with the `stem` of a fitting row of the manifest."""
    if manifest is None:
        return volumes
    try:
        with Path(manifest.file).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
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
