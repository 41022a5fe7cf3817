"""Every sampling strategy, by name, against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.forests.sampling import STAGED, STRATEGIES, Patch, plan_strategies
from shallow2deep.settings import ForestsSettings, validated

RNG = np.random.default_rng


def labels(shape: tuple[int, ...] = (90, 110), n_classes: int = 2, seed: int = 0) -> np.ndarray:
    """Smooth random regions of every class."""
    noise = ndi.gaussian_filter(RNG(seed).random((n_classes, *shape)), [0, *[6] * len(shape)])
    return noise.argmax(0).astype(np.uint8)


def maps(classes: np.ndarray, n_classes: int, seed: int = 1) -> np.ndarray:
    p = RNG(seed).random((n_classes, *classes.shape)).astype(np.float32)
    return p / p.sum(0)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(("shape", "n_classes"), [((90, 110), 2), ((6, 60, 50), 3)])
def test_samples_agree_with_the_labels_and_are_keyed_on_the_generator(
    name: str, shape: tuple[int, ...], n_classes: int
) -> None:
    classes = labels(shape, n_classes)
    patch = Patch(classes, n_classes, maps(classes, n_classes))
    strokes = STRATEGIES[name](patch, ForestsSettings(), RNG(5))
    assert strokes.dtype == np.uint8
    assert strokes.shape == shape
    assert (strokes > 0).any()
    drawn = strokes > 0
    np.testing.assert_array_equal(strokes[drawn], classes[drawn] + 1)
    np.testing.assert_array_equal(strokes, STRATEGIES[name](patch, ForestsSettings(), RNG(5)))


@pytest.mark.parametrize("name", sorted(STAGED - {"balanced_dense"}))
def test_staged_strategies_need_probabilities(name: str) -> None:
    with pytest.raises(InputError, match="probabilities"):
        STRATEGIES[name](Patch(labels(), 2), ForestsSettings(), RNG(0))


def score_patch() -> tuple[Patch, np.ndarray]:
    """One class is certain and right on the left, uncertain in the middle, certain and wrong on the right."""
    classes = np.zeros((30, 90), np.uint8)
    classes[15:] = 1
    right = np.where(classes == 0, 1.0, 0.0)
    p0 = np.concatenate([right[:, :30], np.full((30, 30), 0.5), 1 - right[:, 60:]], 1)
    return Patch(classes, 2, np.stack([p0, 1 - p0]).astype(np.float32)), np.arange(90) // 30


@pytest.mark.parametrize(("name", "zone"), [("worst_points", 2), ("uncertain_points", 1), ("worst_tiles", 2)])
def test_score_picks_the_zone_it_is_named_after(name: str, zone: int) -> None:
    patch, zones = score_patch()
    strokes = STRATEGIES[name](patch, ForestsSettings(fraction=0.2), RNG(0))
    share = np.count_nonzero(strokes[:, zones == zone]) / np.count_nonzero(strokes)
    assert share == 1 if name != "worst_tiles" else share > 0.6


def test_uncertain_worst_points_sums_both_scores() -> None:
    patch, zones = score_patch()
    strokes = STRATEGIES["uncertain_worst_points"](patch, ForestsSettings(fraction=0.6), RNG(0))
    # middle: error 1 + uncertainty 1; right: error 2 + 0; left: 0
    assert np.count_nonzero(strokes[:, zones == 0]) == 0


def test_points_are_balanced() -> None:
    classes = labels()
    for name, count in (("random_points", 100), ("balanced_dense", np.bincount(classes.ravel()).min())):
        strokes = STRATEGIES[name](Patch(classes, 2), ForestsSettings(points=100), RNG(0))
        assert [np.count_nonzero(strokes == n) for n in (1, 2)] == [count, count]


def test_dense_patches_are_one_filled_box() -> None:
    drawn = STRATEGIES["dense_patches"](Patch(labels(), 2), ForestsSettings(), RNG(3)) > 0
    box = ndi.find_objects(drawn.astype(int))[0]
    assert drawn[box].all()
    assert drawn.sum() == drawn[box].size


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 40))
def test_strokes_keep_to_their_class_and_vary(seed: int, width: int, count: int) -> None:
    classes = labels(seed=seed % 7)
    chosen = ForestsSettings.model_validate({"strokes": {"width": [width, width], "count": [1, count]}})
    strokes = STRATEGIES["simulated_strokes"](Patch(classes, 2), chosen, RNG(seed))
    for number in (0, 1):
        assert not (strokes[classes != number] == number + 1).any()
    assert (strokes > 0).any()
    assert np.count_nonzero(strokes) < strokes.size


def test_stroke_amounts_cover_the_range() -> None:
    classes = labels((300, 300))
    sizes = [
        np.count_nonzero(STRATEGIES["simulated_strokes"](Patch(classes, 2), ForestsSettings(), RNG(s)))
        for s in range(40)
    ]
    assert max(sizes) > 8 * min(sizes)


def test_mixture_fills_a_stage_by_its_shares() -> None:
    mixture = {"simulated_strokes": 3.0, "worst_tiles": 1.0}
    slots = plan_strategies(ForestsSettings(strategies=mixture, stage_size=10))
    assert len(slots) == 10
    assert slots.count("worst_tiles") in (2, 3)


@pytest.mark.parametrize("shares", [{"nonsense": 1.0}, {"worst_tiles": -1.0}, {"worst_tiles": 0.0}, {}])
def test_bad_mixtures_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        plan_strategies(validated(ForestsSettings, {"strategies": shares}, "test"))
