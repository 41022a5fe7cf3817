"""FeatureSpec: complete, hashable, and nothing else than ilastik's conventions."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.errors import InputError
from shallow2deep.features import FILTERS, FeatureSpec

WIDER = {"name": "StructureTensorEigenvalues", "scale": 1.0, "presmoothing": 1.0, "sigmas": [1.0, 2.0]}
planes_and_channels = st.builds(
    FeatureSpec.ilastik,
    ndim=st.just(3),
    in_2d=st.sets(st.sampled_from([0.3, 1.0, 10.0])),
    channels=st.integers(1, 64),
)
specs = planes_and_channels | st.builds(
    FeatureSpec.ilastik,
    scales=st.lists(st.sampled_from([0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0]), min_size=1),
    ndim=st.sampled_from([2, 3]),
    filters=st.sets(st.sampled_from(FILTERS)).map(lambda chosen: {*chosen, "GaussianSmoothing"}),
)


@given(specs)
def test_round_trip(spec: FeatureSpec) -> None:
    again = FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert spec.difference(again) is None
    assert len(spec.names) == spec.n_features == len(set(spec.names))


def test_default_is_ilastiks() -> None:
    spec = FeatureSpec.ilastik()
    assert spec.n_features == 49
    assert FeatureSpec.ilastik(ndim=3).n_features == 61
    assert spec.names[0] == "GaussianSmoothing@0.3[0]"
    assert sum(name.endswith("@0.3[0]") for name in spec.names) == 1
    tensor = next(f for f in spec.filters if f.name.startswith("StructureTensor") and f.scale == 3.5)
    assert tensor.sigmas == (0.5, 1.0)
    assert tensor.presmoothing == pytest.approx(math.sqrt(3.5**2 - 1))


def test_difference_names_the_filters() -> None:
    one, other = FeatureSpec.ilastik([0.7, 1.6]), FeatureSpec.ilastik([0.7, 3.5])
    assert "GaussianSmoothing@1.6[0]" in str(one.difference(other))
    assert "GaussianSmoothing@3.5[0]" in str(one.difference(other))
    assert "ndim 2 and 3" in str(one.difference(FeatureSpec.ilastik([0.7, 1.6], ndim=3)))


@pytest.mark.parametrize(
    "change",
    [
        {"ndim": 4},
        {"ndim": None},
        {"scale": 0},
        {"scale": math.nan},
        {"window": 3.0},
        {"eigenvalue_order": "ascending"},
        {"filters": []},
        {"filters": 7},
        {"filters": [{"name": "Sobel", "scale": 1.0, "presmoothing": 1.0, "sigmas": [1.0]}]},
        {"filters": [{"name": "GaussianSmoothing", "scale": 1e9, "presmoothing": 1e9, "sigmas": [1.0]}]},
        {"filters": [WIDER]},
        {"unknown": 1},
    ],
)  # fmt: skip
def test_other_records_are_refused(change: dict) -> None:
    with pytest.raises(InputError):
        FeatureSpec.from_dict(FeatureSpec.ilastik().to_dict() | change)


def test_unknown_filters_and_scales_are_refused() -> None:
    with pytest.raises(InputError, match="Sobel"):
        FeatureSpec.ilastik(filters=["Sobel"])
    with pytest.raises(InputError, match="1000"):
        FeatureSpec.ilastik([1000])
