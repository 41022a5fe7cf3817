"""Applies a forest to features."""

import numpy as np

from shallow2deep.errors import FeatureMismatchError
from shallow2deep.forests.forest import Forest
from shallow2deep.forests.kernel import Traversal


def predict_features(forest: Forest, features: np.ndarray) -> np.ndarray:
    """Probability of each class at each pixel.

    Args:
        features: float32 `(F, *spatial)`, of the forest's spec.

    Returns:
        float32 `(classes, *spatial)`; sums to 1.

    Raises:
        FeatureMismatchError: not the forest's number of features.
    """
    if len(features) != forest.spec.n_features:
        raise FeatureMismatchError(
            f"{len(features)} features were given to a forest of {forest.spec.n_features}; "
            "compute them with the forest's spec"
        )
    return Traversal(forest).predict(np.asarray(features, np.float32))
