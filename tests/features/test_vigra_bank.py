"""Features of ilastik 1.2: by vigra itself where it is installed, and by the rules on any shape."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from features.reference import features as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.features import FILTERS, FeatureSpec, compute_features
from shallow2deep.features.torch_bank import compute_features_torch

PROGRAM = """
import sys
import numpy as np
import vigra
from vigra import filters

raw = vigra.taggedView(np.load(sys.argv[1]), "zyx"[3 - np.load(sys.argv[1]).ndim:])
for name in sys.argv[3].split(","):
    for scale in map(float, sys.argv[4].split(",")):
        sigma = min(scale, 1.0)
        image = filters.gaussianSmoothing(
            raw, (scale**2 - 1) ** 0.5 if scale > 1 else scale, window_size=3.5
        )
        if name == "DifferenceOfGaussians":
            found = filters.gaussianSmoothing(image, sigma, window_size=2.0)
            found = found - filters.gaussianSmoothing(image, 0.66 * sigma, window_size=2.0)
        elif name == "StructureTensorEigenvalues":
            found = filters.structureTensorEigenvalues(image, sigma, 0.5 * sigma, window_size=2.0)
        else:
            found = getattr(filters, name[0].lower() + name[1:])(image, sigma, window_size=2.0)
        np.save(f"{sys.argv[2]}/{name}@{scale}.npy", np.asarray(found))
"""


def spec_of(scales: list[float], ndim: int, filters: tuple[str, ...] = FILTERS) -> FeatureSpec:
    chosen = [(name, scale, False) for name in filters for scale in scales]
    return FeatureSpec.of_selection(chosen, ndim, library="vigra")


@pytest.mark.parametrize("shape", [(60, 71), (25, 30, 27)])
def test_the_same_bits_as_vigra(shape: tuple[int, ...], vigra_python: Path, tmp_path: Path) -> None:
    """Raw is bright and varies little, so that rounding shows."""
    scales = [0.2, 0.3, 0.4, 0.7, 0.8, 0.9, 1.0, 1.6, 3.5]
    raw = (33000 + 300 * np.random.default_rng(0).random(shape)).astype(np.float32)
    np.save(tmp_path / "raw.npy", raw)
    arguments = [tmp_path / "raw.npy", tmp_path, ",".join(FILTERS), ",".join(map(str, scales))]
    subprocess.run([vigra_python, "-c", PROGRAM, *arguments], check=True)
    spec = spec_of(scales, len(shape))
    for name, found in zip(spec.names, compute_features(raw, spec), strict=True):
        title, number = name[:-1].split("[")
        expected = np.load(tmp_path / f"{title}.npy")
        expected = expected[..., int(number)] if expected.ndim > raw.ndim else expected
        assert (found == expected).mean() > 0.999, name  # cosines may differ in a last bit of float64
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@settings(max_examples=15)
@given(
    st.one_of(
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 20)),
    ),
    st.lists(st.sampled_from([0.7, 0.9, 1.0, 1.6, 5.0]), min_size=1, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_equal_to_the_rules_on_any_shape(shape: tuple[int, ...], scales: list[float], seed: int) -> None:
    raw = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    spec = spec_of(scales, len(shape))
    expected = reference(raw, spec)
    # its eigenvalues in 3D are rough where two are nearly equal
    np.testing.assert_allclose(compute_features(raw, spec), expected, atol=1e-3 if raw.ndim == 2 else 1e-2)
    np.testing.assert_allclose(compute_features_torch(torch.from_numpy(raw), spec), expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(30, 40), (9, 30, 40)])
def test_another_structure_tensor_than_that_of_fastfilters(shape: tuple[int, ...]) -> None:
    spec = spec_of([0.7, 1.0, 3.5], len(shape), ("StructureTensorEigenvalues",))
    raw = np.random.default_rng(0).random(shape, np.float32)
    now = FeatureSpec.ilastik([0.7, 1.0, 3.5], len(shape), ["StructureTensorEigenvalues"])
    np.testing.assert_allclose(compute_features(raw, spec), reference(raw, spec), atol=1e-5)
    assert abs(compute_features(raw, now) - compute_features(raw, spec)).max() > 1e-3
    assert "library fastfilters and vigra" in str(now.difference(spec))
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
