"""The torch bank and forest: equal to the compiled ones, on the processor and on a GPU where there is one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.features import FILTERS, FeatureSpec, compute_features
from shallow2deep.features.torch_bank import compute_features_torch
from shallow2deep.forests import predict_features, predict_probabilities, train_forest
from shallow2deep.forests.torch_predict import TorchForest

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")),
]


@settings(max_examples=15)
@given(
    st.one_of(
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.integers(1, 12), st.integers(1, 14), st.integers(1, 20)),
    ),
    st.integers(0, 2**32 - 1),
)
def test_equal_on_any_shape(shape: tuple[int, ...], seed: int) -> None:
    raw = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    spec = FeatureSpec.ilastik([0.3, 0.7, 1.6, 5.0], len(shape))
    found = compute_features_torch(torch.from_numpy(raw), spec).numpy()
    np.testing.assert_allclose(found, compute_features(raw, spec), atol=2e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_on_devices(device: str, ndim: int) -> None:
    rng = np.random.default_rng(0)
    raw = rng.random((24, 60, 70)[3 - ndim :], np.float32)
    spec = FeatureSpec.ilastik(ndim=ndim)
    expected = compute_features(raw, spec)
    features = compute_features_torch(torch.from_numpy(raw).to(device), spec)
    np.testing.assert_allclose(features.cpu().numpy(), expected, atol=5e-5)

    strokes = rng.integers(0, 50, raw.shape)
    forest = train_forest(raw, np.where(strokes < 4, strokes, 0), spec, n_trees=9, max_depth=12)
    found = TorchForest(forest, torch.device(device)).predict(torch.from_numpy(expected).to(device))
    np.testing.assert_allclose(found.cpu().numpy(), predict_features(forest, expected), atol=1e-6)


@pytest.mark.parametrize("device", ["cpu:0", *DEVICES[1:]])
@pytest.mark.parametrize("library", ["fastfilters", "vigra"])
def test_whole_way_on_a_device(device: str, library: str) -> None:
    """ "cpu:0" goes the way of a GPU; vigra's features count to the bit and stay on the processor."""
    rng = np.random.default_rng(0)
    raw = rng.random((300, 700), np.float32)
    strokes = rng.integers(0, 50, raw.shape)
    spec = FeatureSpec.of_selection(
        [(name, s, False) for name in FILTERS for s in (0.7, 3.5)], 2, library=library
    )
    forest = train_forest(raw, np.where(strokes < 3, strokes, 0), spec, n_trees=20)
    found = predict_probabilities(forest, raw, device)
    off = np.abs(found - predict_probabilities(forest, raw)) > 1e-4
    if library == "vigra":
        assert not off.any()
    assert off.mean() < 1e-3  # a rounding may turn a decision at a threshold
