"""Images of labels, of whatever program: whole numbers, 0 for background, or one sentence."""

from dataclasses import replace
from functools import partial

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.io.volumes import Volume

_LOSSY = (".jpg", ".jpeg")
_WIDE = 4  # bytes; the largest value of such a type is no object's number


def label_image(volume: Volume) -> Volume:
    """A lazy view of labels without channels: of a picture with a palette, the numbers of the colours.

    Grey that is stored as RGB is read as grey.

    Raises:
        InputError: several channels, or a file that does not keep values; when it is read, colours.
    """
    if volume.file.suffix.lower() in _LOSSY:
        raise InputError(
            f"{volume.name}: JPEG changes values, so it cannot hold labels; save them as PNG or TIFF"
        )
    if volume.indices is not None:
        return volume.indices
    if "c" not in volume.axes:
        return volume
    if volume.shape[0] not in (1, 3, 4):
        raise InputError(
            f"{volume.name}: {volume.shape[0]} channels came, but labels have one; save one number per pixel"
        )
    return replace(
        volume,
        axes=volume.axes[1:],
        shape=volume.shape[1:],
        identity=f"{volume.identity} labels",
        indices=None,
        _read=partial(_read_one_channel, volume),
    )


def checked_labels(volume: Volume, ignored: int | None = None) -> Volume:
    """The same, with values that are checked whenever they are read.

    Args:
        ignored: a value that may be any number.

    Raises:
        InputError: see `label_image`; when it is read, see `check_label_values`.
    """
    labels = label_image(volume)
    identity = f"{labels.identity} checked, without {ignored}"
    return replace(labels, identity=identity, indices=None, _read=partial(_read_checked, labels, ignored))


def check_label_values(name: str, values: np.ndarray) -> None:
    """Whether values are labels, none of which means something else than its number.

    Raises:
        InputError: NaN, fractions, negative values, or the largest value of a type of 4 bytes and more, which
            some programs write for -1.
    """
    if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):  # also for NaN
        came = "NaN" if np.isnan(values).any() else "fractions"
        raise InputError(f"{name}: labels are whole numbers, but {came} came; convert the file")
    if values.dtype.kind == "b" or not values.size:
        return
    low, high = values.min(), values.max()
    if low < 0:
        raise InputError(
            f"{name}: labels from {low} to {high} came, but 0 (background) or more were expected; write 0 "
            "for what is no object"
        )
    if not np.isfinite(high):
        raise InputError(f"{name}: labels are whole numbers, but infinity came; convert the file")
    if values.dtype.kind in "ui" and values.dtype.itemsize >= _WIDE and high == np.iinfo(values.dtype).max:
        raise InputError(
            f"{name}: the label {high} came, the largest that {values.dtype} holds, by which some programs "
            "mean background; write 0 for background"
        )


def _read_one_channel(volume: Volume, window: Window) -> np.ndarray:
    channels = volume.read((slice(None), *window))
    colours = channels[:3]
    if any(
        not np.array_equal(colours[0], other, equal_nan=colours.dtype.kind == "f") for other in colours[1:]
    ):
        raise InputError(
            f"{volume.name}: colours came, but labels have one number per pixel; save the numbers of the "
            "classes or objects, 0 for background (as grey, or as PNG with a palette)"
        )
    return channels[0]


def _read_checked(labels: Volume, ignored: int | None, window: Window) -> np.ndarray:
    values = labels.read(window)
    check_label_values(labels.name, values if ignored is None else values[values != ignored])
    return values
