"""Random numbers that depend on (seed, stage, index) alone, never on the order or number of workers."""

import zlib

import numpy as np


def generator(seed: int, stage: str, *index: int) -> np.random.Generator:
    """A generator of its own for each (seed, stage, index).

    >>> first, again, other = (generator(0, "forest", n).random() for n in (1, 1, 2))
    >>> first == again, first == other
    (True, False)
    """
    return np.random.default_rng([seed, zlib.crc32(stage.encode()), *index])


def integer_seed(seed: int, stage: str, *index: int) -> int:
    """A 31-bit seed for libraries that take an integer."""
    return int(generator(seed, stage, *index).integers(2**31))
