"""Thresholds chosen on strokes."""

import numpy as np
import pytest

from shallow2deep.evaluation.thresholds import GRID, best_threshold, shares_above


def strokes_on(values: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """A map and strokes: one stroke for each class and value of the map below it."""
    p, drawn = np.zeros((4 * len(values), 10), np.float32), np.zeros((4 * len(values), 10), np.uint8)
    for n, (number, value) in enumerate(values):
        p[4 * n : 4 * n + 2], drawn[4 * n : 4 * n + 2, 2:8] = value, number
    return p, drawn


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(1, 0.1), (1, 0.2), (2, 0.9), (2, 0.8)], 0.5),  # many are as good: the nearest to the middle
        ([(1, 0.1), (1, 0.11), (2, 0.32), (2, 0.33)], 0.3),
        ([(1, 0.62), (1, 0.72), (2, 0.9), (2, 0.95)], 0.75),
        ([(2, 0.9)], None),
        ([(1, 0.1)], None),
        ([], None),
    ],
)
def test_the_threshold_that_meets_strokes_best(values: list, expected: float | None) -> None:
    p, drawn = strokes_on(values) if values else (np.zeros((3, 3)), np.zeros((3, 3), int))
    assert best_threshold(*shares_above([p], [drawn], 2)) == expected


def test_shares_are_of_whole_strokes() -> None:
    p, drawn = strokes_on([(1, 0.3), (2, 0.62), (3, 0.9)])
    inside, outside = shares_above([p, p], [drawn, drawn], 2)
    assert inside.shape == (2, len(GRID))
    assert outside.shape == (4, len(GRID))
    np.testing.assert_array_equal(inside[0], GRID < 0.62)
