"""The torch forest: equal to the compiled one, on the processor and on a GPU where there is one."""

import numpy as np
import pytest
import torch
from devices import GPU

from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import fit_forest, predict_features
from shallow2deep.forests.torch_predict import TorchForest


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_on_devices(device: str, ndim: int) -> None:
    rng = np.random.default_rng(0)
    raw = rng.random((24, 60, 70)[3 - ndim :], np.float32)
    spec = FeatureSpec.ilastik(ndim=ndim)
    features = compute_features(raw, spec)
    classes = rng.integers(0, 50, raw.shape)
    x, y = features[:, classes < 3].T, classes[classes < 3]
    forest = fit_forest(x, y, spec, ("a", "b", "c"), n_trees=9, max_depth=12)
    found = TorchForest(forest, torch.device(device)).predict(torch.from_numpy(features).to(device))
    np.testing.assert_allclose(found.cpu().numpy(), predict_features(forest, features), atol=1e-6)
