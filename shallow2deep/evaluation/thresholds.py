"""The threshold of a map, chosen on strokes that nothing has learned from."""

from collections.abc import Iterable, Sequence

import numpy as np
from skimage.measure import label, regionprops

GRID = np.round(np.arange(0.05, 0.96, 0.05), 2)
_ALIKE = 0.01  # accuracies that differ by no more are not told apart


def shares_above(
    maps: Iterable[np.ndarray], held: Sequence[np.ndarray], number: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each stroke of a class, and for each of the others, the share of pixels above each of `GRID`.

    Args:
        maps: of each image, the class's probability, `(*spatial)`.
        held: of each image the strokes, whole numbers `(*spatial)`.
        number: the class's in the strokes.

    Returns:
        two arrays `(strokes, len(GRID))`.
    """
    inside: list[np.ndarray] = []
    outside: list[np.ndarray] = []
    for p, drawn in zip(maps, held, strict=True):
        for value in np.unique(drawn[drawn > 0]):
            for stroke in regionprops(label(drawn == value, connectivity=drawn.ndim)):
                values = p[tuple(stroke.coords.T)]
                share = (values[:, None] > GRID).mean(0)
                (inside if value == number else outside).append(share)
    return np.reshape(inside, (-1, len(GRID))), np.reshape(outside, (-1, len(GRID)))


def best_threshold(inside: np.ndarray, outside: np.ndarray) -> float | None:
    """The threshold that meets strokes best; of those about as good the nearest to 0.5.

    Strokes lie in the middle of things, where many thresholds are as good, so they tell only which are not.

    Args:
        inside, outside: see `shares_above`.

    Returns:
        None without strokes of both.
    """
    if not len(inside) or not len(outside):
        return None
    accuracy = (inside.mean(0) + 1 - outside.mean(0)) / 2
    good = GRID[accuracy >= accuracy.max() - _ALIKE]
    return float(min(good, key=lambda threshold: (abs(threshold - 0.5), threshold)))
