"""Features in 3D with the rounding of fastfilters: to the bit as the real one, and by the rules."""

from pathlib import Path

import numpy as np
import pytest
from features.reference import features as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.features import FILTERS, FeatureSpec, compute_features
from shallow2deep.features.fastfilters_float32 import fill_as_fastfilters

FLOAT32 = "fastfilters float32"


def spec_of(scales: list[float], filters: tuple[str, ...] = FILTERS, in_2d: bool = False) -> FeatureSpec:
    chosen = [(name, s, in_2d) for name in filters for s in scales if s >= 0.7 or name == FILTERS[0]]
    return FeatureSpec.of_selection(chosen, 3, library=FLOAT32)


def test_the_same_bits_as_fastfilters(shared_data: Path) -> None:
    """They were computed on a processor with AVX2."""
    with np.load(shared_data / "fastfilters" / "fastfilters_3d.npz") as stored:
        raw, expected, names = stored["raw"], stored["features"], stored["names"]
    spec = spec_of([0.3, 0.7, 1.0, 1.6])
    assert list(spec.names) == list(names)
    found, whole = np.empty_like(expected), tuple(slice(0, n) for n in raw.shape)
    (part,) = spec.parts(0)
    fill_as_fastfilters(raw, part, whole, found, fused_along_x=False)
    assert np.array_equal(found, expected)
    fused = compute_features(raw, spec)
    assert not np.array_equal(fused, expected)
    span = np.ptp(expected, axis=(1, 2, 3), keepdims=True)
    assert (abs(fused - expected) / span).max() < 2e-3


@settings(max_examples=15)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 20)),
    st.lists(st.sampled_from([0.3, 0.7, 0.9, 1.0, 1.6, 5.0]), min_size=1, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_equal_to_the_rules_on_any_shape(shape: tuple[int, ...], scales: list[float], seed: int) -> None:
    raw = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    spec = spec_of(scales)
    # eigenvalues are rough where two are nearly equal
    np.testing.assert_allclose(compute_features(raw, spec), reference(raw, spec), atol=1e-2)


def test_even_raw_has_even_features() -> None:
    spec = spec_of([0.7, 1.6])
    found = compute_features(np.full((6, 7, 8), 100, np.uint8), spec)
    for name, values in zip(spec.names, found, strict=True):
        np.testing.assert_allclose(values, 100 if "Smoothing" in name else 0, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("ndim", "filters", "in_2d", "depth", "library"),
    [
        (3, FILTERS, False, None, FLOAT32),
        (3, FILTERS, False, 2, "fastfilters"),  # too thin for 3D
        (3, FILTERS, True, None, "fastfilters"),
        (3, FILTERS[:4], False, None, "fastfilters"),
        (2, FILTERS, False, None, "fastfilters"),
    ],
)
def test_it_is_for_eigenvalues_in_3d(
    ndim: int, filters: tuple[str, ...], in_2d: bool, depth: int | None, library: str
) -> None:
    chosen = [(name, 1.6, in_2d) for name in filters]
    spec = FeatureSpec.of_selection(chosen, ndim, depth, library=FLOAT32)
    assert spec.library == library
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
