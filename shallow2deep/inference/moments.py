"""Mean and deviation, by which raw is normalised for networks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

_SMALLEST = 1e-6  # deviation: an image of one value is not divided by zero


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of an image, or of several.

    >>> Moments.of(np.array([1.0, 3.0])).standardised(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, raw: np.ndarray) -> Self:
        return cls.of_facts(float(raw.mean()), float(raw.std()))

    @classmethod
    def of_facts(cls, mean: float, deviation: float) -> Self:
        """Of a mean and a deviation that were found before."""
        return cls(mean, max(deviation, _SMALLEST))

    @classmethod
    def of_sums(cls, parts: Iterable[tuple[int, float, float]]) -> Self:
        """Of all pixels together, from each part's number of them, sum, and sum of squares."""
        count, total, squares = 0, 0.0, 0.0
        for part in parts:
            count, total, squares = count + part[0], total + part[1], squares + part[2]
        mean = total / count
        return cls.of_facts(mean, float(np.sqrt(max(squares / count - mean * mean, 0))))

    def standardised(self, raw: np.ndarray) -> np.ndarray:
        """A part of the image, shifted and scaled so that the whole has mean 0 and deviation 1; float32."""
        return ((raw - self.mean) / self.deviation).astype(np.float32)
