"""Whole images through forests: block by block, in the memory of a block, and on a GPU."""

import tracemalloc

import numpy as np
import pytest
from devices import GPU
from forests.samples import CLASSES, SPEC, samples

from shallow2deep.errors import FeatureMismatchError, InputError
from shallow2deep.features import FILTERS, FeatureSpec, compute_features
from shallow2deep.forests import Forest, fit_forest, predict_features
from shallow2deep.inference.forest_maps import ForestPredictor, predict_probabilities
from shallow2deep.training.from_strokes import train_forest


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit_forest(*samples(500), SPEC, CLASSES, n_trees=7, seed=3)


def test_blocks_equal_the_whole(monkeypatch: pytest.MonkeyPatch, forest: Forest) -> None:
    raw = np.random.default_rng(0).random((90, 70), np.float32)
    whole = predict_features(forest, compute_features(raw, SPEC))
    monkeypatch.setattr("shallow2deep.inference.forest_maps.BLOCK", {2: 32})
    for threads in (1, 3):
        assert np.array_equal(predict_probabilities(forest, raw, threads=threads), whole)


@pytest.mark.parametrize("shape", [(700, 700), (80, 80, 80)])
def test_memory_is_that_of_a_block(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shallow2deep.inference.forest_maps.BLOCK", {2: 64, 3: 16})
    spec = FeatureSpec.ilastik([0.7, 1.6], len(shape))
    rng = np.random.default_rng(0)
    x, y = rng.random((50, spec.n_features), np.float32), np.arange(50) % 2
    forest = fit_forest(x, y, spec, ("a", "b"), n_trees=3)
    raw = rng.random(shape, np.float32)
    predict_probabilities(forest, raw[:20])  # compiles
    tracemalloc.start()
    p = predict_probabilities(forest, raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - p.nbytes < raw.nbytes * spec.n_features / 8


@pytest.mark.parametrize(
    "raw",
    [
        np.full((9, 9), np.nan),
        np.zeros((0, 9)),
        np.zeros((9, 9), complex),
        np.array([["a", "b"]]),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_raw_that_is_no_image_is_refused(raw: np.ndarray, device: str, forest: Forest) -> None:
    with pytest.raises(InputError, match="real, finite"):
        predict_probabilities(forest, raw, device)


def test_images_that_do_not_match_are_refused(forest: Forest) -> None:
    with pytest.raises(FeatureMismatchError):
        predict_probabilities(forest, np.zeros((4, 4, 4), np.float32))
    with pytest.raises(InputError, match="0 threads"):
        predict_probabilities(forest, np.zeros((4, 4), np.float32), threads=0)


@pytest.mark.parametrize("device", ["cpu:0", GPU])
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


def test_the_rounding_of_fastfilters_stays_on_the_processor() -> None:
    rng = np.random.default_rng(0)
    raw, strokes = rng.random((12, 20, 20), np.float32), rng.integers(0, 3, (12, 20, 20))
    spec = FeatureSpec.of_selection([(FILTERS[-1], 1.6, False)], 3, library="fastfilters float32")
    forest = train_forest(raw, strokes, spec, n_trees=2)
    assert ForestPredictor(forest, GPU).on_processor
