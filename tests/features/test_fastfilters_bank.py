"""The fastfilters package as an engine: called as ilastik calls it, and equal to our own."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from features.reference import apply, assert_close

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.features.spec import Filter


def test_missing_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastfilters", None)
    with pytest.raises(InputError, match="conda"):
        compute_features(np.zeros((4, 4)), FeatureSpec.ilastik(), engine="fastfilters")


def test_fastfilters_is_called_as_ilastik_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in that computes what the package does, with its exchanged arguments."""

    def plain(name: str) -> Callable[[np.ndarray, float, float], np.ndarray]:
        def call(image: np.ndarray, sigma: float, window: float) -> np.ndarray:
            result = apply(image.astype(np.float64), Filter(name, 1, 1, (sigma,)), window)
            return result[0] if len(result) == 1 else np.moveaxis(result, 0, -1)

        return call

    def tensor(image: np.ndarray, smoothing: float, gradient: float, window: float) -> np.ndarray:
        one = Filter("StructureTensorEigenvalues", 1, 1, (gradient, smoothing))
        return np.moveaxis(apply(image.astype(np.float64), one, window), 0, -1)

    stand_in = SimpleNamespace(
        gaussianSmoothing=plain("GaussianSmoothing"),
        laplacianOfGaussian=plain("LaplacianOfGaussian"),
        gaussianGradientMagnitude=plain("GaussianGradientMagnitude"),
        hessianOfGaussianEigenvalues=plain("HessianOfGaussianEigenvalues"),
        structureTensorEigenvalues=tensor,
    )
    monkeypatch.setitem(sys.modules, "fastfilters", stand_in)
    raw = np.random.default_rng(0).random((40, 50), np.float32)
    spec = FeatureSpec.ilastik()
    found = compute_features(raw, spec, engine="fastfilters")
    np.testing.assert_allclose(found, compute_features(raw, spec), atol=1e-4)


def test_fastfilters_engine() -> None:
    pytest.importorskip("fastfilters", reason="fastfilters is available from conda only")
    raw = np.random.default_rng(0).random((60, 70), np.float32)
    spec = FeatureSpec.ilastik()
    assert_close(compute_features(raw, spec, "fastfilters"), compute_features(raw, spec), 1e-3)
