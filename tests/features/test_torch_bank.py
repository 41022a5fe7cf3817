"""The torch bank: equal to the compiled one, on the processor and on a GPU where there is one."""

import numpy as np
import pytest
import torch
from devices import GPU
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.features.torch_bank import compute_features_torch


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


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_on_devices(device: str, ndim: int) -> None:
    rng = np.random.default_rng(0)
    raw = rng.random((24, 60, 70)[3 - ndim :], np.float32)
    spec = FeatureSpec.ilastik(ndim=ndim)
    expected = compute_features(raw, spec)
    features = compute_features_torch(torch.from_numpy(raw).to(device), spec)
    np.testing.assert_allclose(features.cpu().numpy(), expected, atol=5e-5)
