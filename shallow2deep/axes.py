"""Axis letters: inside the package every array is ordered as in "czyx", with the axes that it has."""

from collections.abc import Sequence

from shallow2deep.errors import InputError

CANONICAL = "czyx"


def canonical(axes: str) -> str:
    """The same axes in the package's order: channel first, then z, y, x.

    >>> canonical("yxc")
    'cyx'
    """
    return "".join(a for a in CANONICAL if a in axes)


def spatial(axes: str) -> str:
    """The axes without the channel."""
    return axes.replace("c", "")


def infer_axes(shape: Sequence[int], name: str) -> str:
    """The axes of an array that says nothing about them.

    Args:
        shape: 2D is yx; 3D is zyx, or yxc if the last axis has 1, 3 or 4 entries and the others more; 4D
            is zyxc if the last axis has at most 4 entries.
        name: what the array is called in the error.

    Raises:
        InputError: any other shape.

    >>> infer_axes((512, 640, 3), "photo.png"), infer_axes((20, 512, 640), "stack.tif")
    ('yxc', 'zyx')
    """
    match tuple(shape):
        case (_, _):
            return "yx"
        case (y, x, (1 | 3 | 4) as c) if y > c and x > c:
            return "yxc"
        case (_, _, _):
            return "zyx"
        case (_, _, _, c) if c <= 4:
            return "zyxc"
    raise InputError(f"{name}: the axes of shape {tuple(shape)} are not evident; state axes, e.g. czyx")


def check_axes(axes: str, shape: Sequence[int], name: str) -> str:
    """The axes in lower case, checked.

    Args:
        axes: one letter out of "czyx" for each axis of `shape`, in any order.
        name: what the array is called in the error.

    Raises:
        InputError: a time axis, an unknown or repeated letter, no y or x, or not one letter per axis.
    """
    letters = axes.lower()
    if len(letters) != len(shape):
        raise InputError(
            f'{name}: axes "{axes}" have {len(letters)} letters but the shape {tuple(shape)} has '
            f"{len(shape)} axes; state one letter per axis"
        )
    if "t" in letters:
        raise InputError(f'{name}: axes "{axes}" hold a time series; save one time point and give that')
    if set(letters) - set(CANONICAL) or len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters):
        raise InputError(
            f'{name}: axes "{axes}" came, but y and x and at most one c and z were expected; state axes'
        )
    return letters
