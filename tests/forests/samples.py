"""Samples of made-up features, to grow forests from."""

import numpy as np

from shallow2deep.features import FeatureSpec

SPEC = FeatureSpec.ilastik([0.7, 1.6])
CLASSES = ("background", "nucleus", "membrane")


def samples(n: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, SPEC.n_features)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=n) > 0).astype(int) + (classes > 2) * (x[:, 1] > 1)
