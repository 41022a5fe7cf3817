"""Brush strokes: sparse labels, checked before they are read, shared out to learn from and to judge by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.evaluation.held_out import split_strokes
from shallow2deep.inputs.facts import LabelFacts, text_fingerprint
from shallow2deep.inputs.images import images_of
from shallow2deep.inputs.labels import label_image
from shallow2deep.inputs.names import in_order, owners, plain_name
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.settings import TargetData


@dataclass(frozen=True)
class Strokes:
    """What was painted on one image or plane; read when it is asked for.

    Attributes:
        counts: number of pixels of each class, from 1, that is painted here.
        fingerprint: of what was painted.
    """

    shape: tuple[int, ...]
    counts: Mapping[int, int]
    fingerprint: str
    _read: Callable[[], np.ndarray]

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Strokes":
        """On an image that nothing was painted on."""
        return cls(shape, {}, f"none {shape}", partial(np.zeros, shape, np.uint8))

    def read(self) -> np.ndarray:
        """uint8 `(*spatial)`: 0 unlabelled, or the number of a class, from 1."""
        return self._read()


@dataclass(frozen=True)
class Drawn:
    """The strokes of all planes of a target.

    Attributes:
        strokes: of each plane.
        held_share, seed: how many of the strokes, and which, only judge results.
    """

    strokes: tuple[Strokes, ...]
    held_share: float
    seed: int

    @cached_property
    def shared_out(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Of each plane the strokes to learn from, and those that only judge results."""
        return split_strokes([strokes.read() for strokes in self.strokes], self.held_share, self.seed)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "shared_out"}


def open_strokes(
    data: TargetData,
    ndim: int,
    classes: Sequence[str],
    raws: Sequence[Volume],
    known: Known | None = None,
) -> list[Strokes]:
    """The strokes of each raw image.

    Args:
        classes: names, in the order of their numbers.

    Raises:
        InputError: strokes and raw do not fit, a value has no class, fewer than two classes are drawn, or
            the labels are dense.
    """
    mapping = data.stroke_classes or {n: n for n in range(1, len(classes) + 1)}
    _check_mapping(mapping, classes)
    found = [
        Strokes.none(raw.spatial_shape)
        if image is None
        else _checked(image, raw, mapping, classes, known or Known())
        for image, raw in zip(_images_on(data, ndim, raws), raws, strict=True)
    ]
    check_classes(found, classes)
    return found


def _images_on(data: TargetData, ndim: int, raws: Sequence[Volume]) -> Sequence[Volume | None]:
    """For each raw image its stroke image, if it has one."""
    volumes = [label_image(volume) for volume in open_volumes(data.strokes, data.stroke_axes)]
    names, keys = [plain_name(volume) for volume in volumes], [plain_name(raw) for raw in raws]
    numbers = owners(names, keys) if all(volume.ndim == ndim for volume in volumes) else None
    if numbers is not None:
        by_number = dict(zip(numbers, volumes, strict=True))
        return [_as_sliced(by_number.get(number), raw, data.slices) for number, raw in enumerate(raws)]
    files = list(dict.fromkeys(keys))
    stacks = len(files) > 1 and all(volume.ndim > ndim for volume in volumes)
    if stacks and (numbers := owners(names, files)) is not None:
        of_stacks = {files[n]: volume for n, volume in zip(numbers, volumes, strict=True)}
        return _planes_on(of_stacks, keys, ndim, data.slices)
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
    if len(strokes) != len(raws):
        raise InputError(f"{len(strokes)} stroke images but {len(raws)} raw images came; give one for each")
    return [_as_sliced(image, raw, data.slices) for image, raw in zip(strokes, raws, strict=True)]


def _planes_on(
    stacks: Mapping[str, Volume], keys: Sequence[str], ndim: int, slices: str | tuple[int, ...] | None
) -> list[Volume | None]:
    """For each plane of several volumes, named by these, that of the strokes on it, if there are any."""
    found: list[Volume | None] = [None] * len(keys)
    for name, volume in stacks.items():
        places = [n for n, key in enumerate(keys) if key == name]
        planes = images_of(volume, ndim, None)
        if len(planes) != len(places) and slices is not None:
            planes = images_of(volume, ndim, slices)
        if len(planes) != len(places):
            raise InputError(
                f"{volume.name} has {len(planes)} planes but its raw image {len(places)}; give one for each"
            )
        for place, plane in zip(places, planes, strict=True):
            found[place] = plane
    return found


def _as_sliced(image: Volume | None, raw: Volume, slices: str | tuple[int, ...] | None) -> Volume | None:
    """Of strokes on a whole volume the part that raw is."""
    if image is None or raw.ndim < 3 or slices is None or image.spatial_shape == raw.spatial_shape:
        return image
    return images_of(image, 3, slices)[0]


def _check_mapping(mapping: Mapping[int, int], classes: Sequence[str]) -> None:
    for value, number in mapping.items():
        if value == 0 or not 1 <= number <= len(classes):
            raise InputError(
                f"the stroke value {value} is mapped to class {number}, but values other than 0 (unlabelled) "
                f"and classes 1 to {len(classes)} were expected; correct stroke_classes"
            )


def _checked(
    image: Volume, raw: Volume, mapping: Mapping[int, int], classes: Sequence[str], known: Known
) -> Strokes:
    """The strokes in an image, which has the shape of its raw image and no value without a class."""
    if image.spatial_shape != raw.spatial_shape:
        raise InputError(
            f"{image.name} has shape {image.spatial_shape} but its raw image {raw.name} has "
            f"{raw.spatial_shape}; give strokes of the raw image's shape, in the same order"
        )
    facts = LabelFacts.of(image, known)
    if not facts.whole:
        raise InputError(f"{image.name}: strokes are whole numbers, but fractions came; convert the file")
    present = [value for value in facts.counts if value != 0]
    if unknown := [value for value in present if value not in mapping]:
        raise InputError(
            f"{image.name}: the values {_few(present)} occur, of which {_few(unknown)} have no class; there "
            f"are {', '.join(classes)}: name more of them, such as classes: [{_named(classes, unknown)}], or "
            "map each value to the number of its class in stroke_classes, e.g. {1: 1, 2: 2}"
        )
    counts: dict[int, int] = {}
    for value in present:
        number = mapping[int(value)]
        counts[number] = counts.get(number, 0) + facts.counts[value]
    used = {int(value): mapping[int(value)] for value in present}
    fingerprint = text_fingerprint(facts.fingerprint, used)
    return Strokes(raw.spatial_shape, counts, fingerprint, partial(_class_numbers, image, used))


def _class_numbers(image: Volume, mapping: Mapping[int, int]) -> np.ndarray:
    values = image.read()
    numbers = np.zeros(values.shape, np.uint8)
    for value, number in mapping.items():
        numbers[values == value] = number
    return numbers


def _named(classes: Sequence[str], unknown: Sequence[float]) -> str:
    """The classes, and as many more as the unknown values could be the numbers of."""
    numbers = range(len(classes) + 1, int(min(max(unknown), len(classes) + 8)) + 1)
    return ", ".join([*classes, *(f"class {number}" for number in numbers)])


def _few(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:10])) + (", …" if len(values) > 10 else "")


def check_classes(strokes: Sequence[Strokes], classes: Sequence[str]) -> None:
    """Whether there are strokes of two classes or more, and not on most of the pixels.

    Raises:
        InputError: naming what is missing.
    """
    painted = {number for one in strokes for number in one.counts}
    drawn = [name for number, name in enumerate(classes, 1) if number in painted]
    missing = [name for name in classes if name not in drawn]
    if not drawn:
        raise InputError("the stroke images hold no stroke; draw some of each class: " + ", ".join(classes))
    if len(drawn) == 1:
        raise InputError(f"only {drawn[0]} is drawn; draw strokes of {' and '.join(missing)}, too")
    if classes[0] in missing:
        raise InputError(
            f"nothing is drawn of {classes[0]}, the first class, which is the background; draw strokes of it"
        )
    labelled = [one for one in strokes if one.counts]
    if (
        sum(sum(one.counts.values()) for one in labelled)
        > sum(int(np.prod(one.shape)) for one in labelled) / 2
    ):
        raise InputError(
            "more than half of the pixels of the labelled images are labelled: this looks like dense labels, "
            "but strokes were expected; draw a few strokes per class and leave the rest 0"
        )
