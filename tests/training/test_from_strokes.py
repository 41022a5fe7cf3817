"""Forests of brush strokes."""

import numpy as np
import pytest

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.inference.forest_maps import predict_probabilities
from shallow2deep.training.from_strokes import train_forest


@pytest.mark.parametrize("ndim", [2, 3])
def test_train_on_strokes(ndim: int) -> None:
    rng = np.random.default_rng(0)
    raw = 0.5 * rng.random((20, 40, 40)[3 - ndim :], np.float32)
    raw[..., 20:] += 1
    strokes = np.zeros(raw.shape, np.uint8)
    strokes[..., 5, 3:9], strokes[..., 9, 25:35] = 1, 2
    spec = FeatureSpec.ilastik([0.7, 1.6], ndim, ["GaussianSmoothing"])
    forest = train_forest(raw, strokes, spec, n_trees=20)
    p = predict_probabilities(forest, raw)
    assert forest.classes == ("class 1", "class 2")
    assert (p[1] > 0.5)[..., 24:].mean() > 0.95
    assert (p[1] > 0.5)[..., :16].mean() < 0.05
    several = train_forest([raw, raw[..., :30]], [strokes, np.zeros_like(raw[..., :30], np.uint8)], spec, 20)
    assert np.array_equal(predict_probabilities(several, raw), p)


def test_strokes_that_cannot_be_trained_on_are_refused() -> None:
    spec = FeatureSpec.ilastik([0.7, 1.6])
    with pytest.raises(InputError, match="empty"):
        train_forest(np.zeros((9, 9)), np.zeros((9, 9), int), spec)
    with pytest.raises(InputError, match="differ"):
        train_forest(np.zeros((9, 9)), np.zeros((9, 8), int), spec)
