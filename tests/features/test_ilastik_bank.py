"""Features: equal to the real fastfilters' stored outputs and to a slow reference on any shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from features.reference import assert_close
from features.reference import features as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.errors import InputError
from shallow2deep.features import FILTERS, FeatureSpec, compute_features
from shallow2deep.features.torch_bank import compute_features_torch


@pytest.mark.parametrize("ndim", [2, 3])
def test_equal_to_fastfilters(ndim: int, shared_data: Path) -> None:
    with np.load(shared_data / "fastfilters" / f"fastfilters_{ndim}d.npz") as stored:
        raw, expected, names = stored["raw"], stored["features"], stored["names"]
    spec = FeatureSpec.ilastik({float(n.split("@")[1].split("[")[0]) for n in names}, ndim)
    assert list(spec.names) == list(names)
    assert_close(compute_features(raw, spec), expected, 1e-3)


@settings(max_examples=25)
@given(
    st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 12), st.integers(1, 14), st.integers(1, 20)),
    ),
    st.lists(st.sampled_from([0.3, 0.7, 0.9, 1.0, 1.6, 5.0]), min_size=1, unique=True),
    st.sets(st.sampled_from(FILTERS)).map(lambda chosen: {*chosen, "GaussianSmoothing"}),
    st.integers(0, 2**32 - 1),
)
def test_equal_to_the_rules_on_any_shape(
    shape: tuple[int, ...], scales: list[float], filters: set[str], seed: int
) -> None:
    raw = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    spec = FeatureSpec.ilastik(scales, len(shape), filters)
    found, expected = compute_features(raw, spec, threads=2), reference(raw, spec)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-4)


@settings(max_examples=25)
@given(st.sampled_from([2, 3]), st.integers(1, 3), st.sets(st.sampled_from([0.7, 1.6])), st.integers(0, 999))
def test_channels_and_planes_by_the_rules(ndim: int, channels: int, in_2d: set[float], seed: int) -> None:
    spec = FeatureSpec.ilastik([0.3, 0.7, 1.6], ndim, in_2d=in_2d if ndim == 3 else (), channels=channels)
    shape = (channels, *(5, 17, 19)[3 - ndim :])
    raw = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    found, expected = compute_features(raw, spec), reference(raw, spec)
    assert len(spec.names) == len(found) == spec.n_features
    np.testing.assert_allclose(found, expected, atol=2e-4)
    by_torch = compute_features_torch(torch.from_numpy(raw), spec).numpy()
    np.testing.assert_allclose(by_torch, expected, atol=3e-4)


@pytest.mark.parametrize("shape", [(70, 90), (20, 30, 40)])
def test_parts_and_threads_change_no_bit(shape: tuple[int, ...]) -> None:
    raw = np.random.default_rng(0).random(shape, np.float32)
    spec = FeatureSpec.ilastik([0.7, 1.6], len(shape))
    whole = compute_features(raw, spec)
    assert np.array_equal(whole, compute_features(raw, spec, threads=3))
    halo = spec.halo[0]
    part = compute_features(raw[: 10 + halo, 3:], spec)
    inner = (slice(None), slice(0, 10), slice(halo, None))
    outer = (slice(None), slice(0, 10), slice(3 + halo, None))
    assert np.array_equal(part[inner], whole[outer])


@settings(max_examples=40)
@given(
    st.sampled_from([(40, 50), (1, 60), (14, 20, 17), (3, 1, 30)]),
    st.booleans(),
    st.sampled_from(["fastfilters", "fastfilters float32", "vigra"]),
    st.data(),
)
def test_a_window_is_cut_out_of_all(
    shape: tuple[int, ...], in_2d: bool, library: str, data: st.DataObject
) -> None:
    """With memory that is too large, and of several channels."""
    chosen = [(name, s, in_2d and s == 1.6) for name in FILTERS for s in (0.7, 1.6, 5.0)]
    spec = FeatureSpec.of_selection(chosen, len(shape), channels=2, library=library)
    raw = np.random.default_rng(0).random((2, *shape), np.float32)
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    inner = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True))
    expected = compute_features(raw, spec)
    memory = np.empty(expected.size + 9, np.float32)
    found = compute_features(raw, spec, threads=2, out=memory, inner=inner)
    assert np.array_equal(found, expected[(slice(None), *inner)])
    assert np.shares_memory(found, memory)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f8", ">f4", "?"])
def test_any_number_type_and_layout(dtype: str) -> None:
    raw = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(dtype)
    spec = FeatureSpec.ilastik([0.7])
    expected = compute_features(raw.astype(np.float32), spec)
    assert np.array_equal(compute_features(raw, spec), expected)
    assert np.array_equal(compute_features(np.asfortranarray(raw), spec), expected)
    assert np.array_equal(compute_features(np.repeat(raw, 2, 1)[::-1, ::2][::-1], spec), expected)


def test_normalisation_is_part_of_the_spec() -> None:
    raw = np.random.default_rng(0).random((30, 40), np.float32)
    spec = FeatureSpec.ilastik([0.7])
    found = compute_features(raw * 50 + 7, replace(spec, offset=7, scale=50))
    assert_close(found, compute_features(raw, spec), 1e-5)


@pytest.mark.parametrize("raw", [np.zeros((3, 3, 3)), np.zeros((0, 4)), np.zeros((4, 4), complex)])
def test_what_cannot_be_filtered_is_refused(raw: np.ndarray) -> None:
    with pytest.raises(InputError):
        compute_features(raw, FeatureSpec.ilastik())


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(InputError, match="abacus"):
        compute_features(np.zeros((4, 4)), FeatureSpec.ilastik(), engine="abacus")
