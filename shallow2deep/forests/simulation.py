"""Strokes as a user might paint them, drawn from dense labels."""

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.settings import StrokeSettings

_TURN = 0.25  # standard deviation, in radians, of the change of direction from one pixel to the next
_MARGIN = 2  # pixels that a careful hand stays away from the edge of what it paints


def draw_strokes(
    classes: np.ndarray, n_classes: int, settings: StrokeSettings, rng: np.random.Generator
) -> np.ndarray:
    """Paints strokes of every class, with a count, lengths and widths drawn from the settings' ranges.

    Args:
        classes: uint8 `(*spatial)`, the number of each pixel's class from 0. Strokes lie in planes of the
            last two axes.

    Returns:
        uint8 `(*spatial)`: 0 unlabelled, class number + 1 where painted. Never contradicts `classes`.
    """
    planes = classes.reshape(-1, *classes.shape[-2:])
    out = np.zeros_like(planes)
    base = log_uniform(rng, *settings.count)
    width = int(rng.integers(settings.width[0], settings.width[1] + 1))
    for number in range(n_classes):
        allowed = _interior(planes == number, width)
        usable = np.flatnonzero(allowed.any((1, 2)))
        factor = settings.imbalance ** rng.uniform(-1, 1)
        count = int(np.clip(round(base * factor), *settings.count))
        for z in rng.choice(usable, count) if len(usable) else ():
            length = int(rng.integers(settings.length[0], settings.length[1] + 1))
            painted = _paint(_walk(allowed[z], length, rng), planes.shape[1:], width)
            out[z][painted & (planes[z] == number)] = number + 1
    return out.reshape(classes.shape)


def log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer between `low` and `high`, both included, whose logarithm is uniform."""
    return min(int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))), high)


def _interior(mask: np.ndarray, width: int) -> np.ndarray:
    """Where the middle of a stroke may run: the inside of `mask`, or all of it where it is too thin."""
    inside = np.stack([ndi.binary_erosion(plane, iterations=_MARGIN + width // 2) for plane in mask])
    return inside if inside.any() else mask


def _walk(allowed: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels `(n, 2)` of a smooth random walk that starts anywhere in `allowed` and does not leave it."""
    candidates = np.flatnonzero(allowed)
    position = np.array(np.unravel_index(rng.choice(candidates), allowed.shape), float)
    angle, path = rng.uniform(0, 2 * np.pi), []
    for _ in range(length):
        path.append(np.round(position).astype(int))
        # straight on if possible, else turn ever more; a dead end finishes the stroke
        for spread in (_TURN, _TURN, 1.0, 2.0, 3.0):
            turned = angle + rng.normal(0, spread)
            step = position + np.array([np.sin(turned), np.cos(turned)])
            y, x = np.round(step).astype(int)
            if 0 <= y < allowed.shape[0] and 0 <= x < allowed.shape[1] and allowed[y, x]:
                position, angle = step, turned
                break
        else:
            break
    return np.array(path)


def _paint(path: np.ndarray, shape: tuple[int, ...], width: int) -> np.ndarray:
    """The pixels within `width / 2` of a path."""
    line = np.ones(shape, bool)
    line[path[:, 0], path[:, 1]] = False
    top, bottom = np.maximum(path.min(0) - width, 0), path.max(0) + width + 1
    window = tuple(slice(a, b) for a, b in zip(top, bottom, strict=True))
    painted = np.zeros(shape, bool)
    painted[window] = ndi.distance_transform_edt(line[window]) <= width / 2
    return painted
