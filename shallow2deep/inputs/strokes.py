"""Brush strokes: sparse labels from files, as class numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import Volume


def read_strokes(
    strokes: Sequence[Volume], raws: Sequence[Volume], mapping: Mapping[int, int], classes: Sequence[str]
) -> list[np.ndarray]:
    """Reads the strokes of each raw image.

    Args:
        strokes: whole numbers, of the spatial shape of the raw image; 0 is unlabelled.
        mapping: value in the files -> number of the class, from 1.
        classes: the classes' names, in the order of their numbers.

    Returns:
        uint8 `(*spatial)` for each raw image: 0 unlabelled, or the number of a class.

    Raises:
        InputError: strokes and raw do not fit, a value has no class, fewer than two classes are drawn, or
            the labels are dense.
    """
    _check_mapping(mapping, classes)
    if len(strokes) != len(raws):
        raise InputError(f"{len(strokes)} stroke images but {len(raws)} raw images came; give one for each")
    for image, raw in zip(strokes, raws, strict=True):
        _check_shape(image, raw)
    numbers = [_class_numbers(image, mapping) for image in strokes]
    _check_classes(numbers, classes)
    return numbers


def _check_mapping(mapping: Mapping[int, int], classes: Sequence[str]) -> None:
    for value, number in mapping.items():
        if value == 0 or not 1 <= number <= len(classes):
            raise InputError(
                f"the stroke value {value} is mapped to class {number}, but values other than 0 (unlabelled) "
                f"and classes 1 to {len(classes)} were expected; correct stroke_classes"
            )


def _check_shape(image: Volume, raw: Volume) -> None:
    if "c" in image.axes and image.shape[0] != 1:
        raise InputError(
            f"{image.name}: {image.shape[0]} channels came, but strokes have one; save one number per pixel"
        )
    if image.spatial_shape != raw.spatial_shape:
        raise InputError(
            f"{image.name} has shape {image.spatial_shape} but its raw image {raw.name} has "
            f"{raw.spatial_shape}; give strokes of the raw image's shape, in the same order"
        )


def _class_numbers(image: Volume, mapping: Mapping[int, int]) -> np.ndarray:
    values = image.grey().read()
    drawn = values[values != 0]
    if drawn.dtype.kind == "f" and not np.array_equal(drawn, np.round(drawn)):  # NaN differs from itself
        raise InputError(f"{image.name}: strokes are whole numbers, but fractions came; convert the file")
    present = np.unique(drawn).astype(object).tolist()
    if unknown := [v for v in present if v not in mapping]:
        raise InputError(
            f"{image.name}: the values {_few(present)} occur, of which {_few(unknown)} have no class; map "
            "each value to the number of its class in stroke_classes, e.g. {1: 1, 2: 2}"
        )
    numbers = np.zeros(values.shape, np.uint8)
    for value in present:
        numbers[values == value] = mapping[value]
    return numbers


def _few(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:10])) + (", …" if len(values) > 10 else "")


def _check_classes(numbers: Sequence[np.ndarray], classes: Sequence[str]) -> None:
    counts = [sum(int((n == k).sum()) for n in numbers) for k in range(1, len(classes) + 1)]
    drawn = [name for name, count in zip(classes, counts, strict=True) if count]
    missing = [name for name in classes if name not in drawn]
    if not drawn:
        raise InputError("the stroke images hold no stroke; draw some of each class: " + ", ".join(classes))
    if len(drawn) == 1:
        raise InputError(f"only {drawn[0]} is drawn; draw strokes of {' and '.join(missing)}, too")
    labelled = [n for n in numbers if n.any()]
    if sum(map(np.count_nonzero, labelled)) > sum(n.size for n in labelled) / 2:
        raise InputError(
            "more than half of the pixels of the labelled images are labelled: this looks like dense labels, "
            "but strokes were expected; draw a few strokes per class and leave the rest 0"
        )
