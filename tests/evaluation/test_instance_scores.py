"""Scores of objects against other implementations and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information

from shallow2deep.errors import InputError
from shallow2deep.evaluation.instance_scores import THRESHOLDS, instance_scores, overlap_table


def by_assignment(found: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[float, float]:
    """AP and Dice of the best matching, as StarDist's `matching` does it, pixel by pixel."""
    masks = [[image == n for n in np.unique(image) if n] for image in (truth, found)]
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in masks[1]] for a in masks[0]]).reshape(
        len(masks[0]), len(masks[1])
    )
    smaller = max(min(iou.shape), 1)
    rows, columns = linear_sum_assignment(-(iou > threshold).astype(float) - iou / (2 * smaller))
    good = iou[rows, columns] > threshold
    tp, total = int(good.sum()), sum(iou.shape)
    dice = sum(2 * v / (1 + v) for v in iou[rows, columns][good])
    return (tp / (total - tp) if total else np.nan), (2 * dice / total if total else np.nan)


def two_images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Label images of which one is the other, changed here and there."""
    rng = np.random.default_rng(seed)
    truth = label(rng.random((12, 14)) > rng.uniform(0.2, 0.9), connectivity=1)
    found = np.where(rng.random(truth.shape) > rng.uniform(0, 0.4), truth, rng.integers(0, 60, truth.shape))
    return found, truth


@settings(max_examples=60)
@given(st.integers(0, 2**31))
def test_same_as_the_best_assignment_and_as_scikit_image(seed: int) -> None:
    found, truth = two_images(seed)
    scores = instance_scores([overlap_table(found * 7, truth * 3)])  # numbers may have gaps
    expected = [by_assignment(found, truth, t) for t in THRESHOLDS]
    assert scores["ap_50"] == pytest.approx(expected[0][0], nan_ok=True)
    assert scores["matched_dice"] == pytest.approx(expected[0][1], nan_ok=True)
    assert scores["average_precision"] == pytest.approx(np.mean([ap for ap, _ in expected]), nan_ok=True)
    if truth.any():
        split, merge = variation_of_information(truth, found, ignore_labels=(0,))
        assert (scores["vi_split"], scores["vi_merge"]) == pytest.approx((split, merge))
        error = adapted_rand_error(truth, found)[0]
        assert scores["adapted_rand_error"] == pytest.approx(error, nan_ok=True)


def test_by_hand() -> None:
    truth = np.zeros((10, 30), int)
    truth[:, :10], truth[:, 12:22], truth[0, 29] = 1, 2, 3
    found = np.zeros_like(truth)
    found[:, :8], found[:, 12:17], found[:, 17:22] = (
        5,
        6,
        7,
    )  # IoU 0.8; a true object in halves; one is missed
    scores = instance_scores([overlap_table(found, truth)])
    assert scores["ap_50"] == 1 / 5
    assert scores["average_precision"] == pytest.approx(0.2 * 6 / 10)  # 0.5 … 0.75
    assert (scores["precision"], scores["recall"]) == (1 / 3, 1 / 3)
    assert scores["matched_dice"] == pytest.approx(2 * (2 * 80 / 180) / 6)
    assert (scores["objects"], scores["true_objects"]) == (3, 3)


def test_perfect_and_empty() -> None:
    truth = label(np.kron(np.eye(4), np.ones((3, 3))) > 0)
    perfect = instance_scores([overlap_table(truth, truth)])
    assert perfect["average_precision"] == perfect["matched_dice"] == 1
    assert perfect["vi"] == pytest.approx(0)
    assert perfect["adapted_rand_error"] == pytest.approx(0)
    nothing = instance_scores([overlap_table(0 * truth, 0 * truth)])
    assert np.isnan(nothing["ap_50"])
    assert instance_scores([overlap_table(0 * truth, truth)])["ap_50"] == 0
    pixel = np.ones((1, 1), int)
    assert instance_scores([overlap_table(pixel, pixel)])["ap_50"] == 1


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_of_several_images_is_that_of_their_objects_together(seed: int) -> None:
    (found, truth), (found2, truth2) = two_images(seed), two_images(seed + 1)
    both = instance_scores([overlap_table(found, truth), overlap_table(found2, truth2)])
    beside = [np.where(b > 0, b + a.max(), 0) for a, b in ((found, found2), (truth, truth2))]
    one = instance_scores(
        [overlap_table(np.concatenate([found, beside[0]]), np.concatenate([truth, beside[1]]))]
    )
    for name in ("ap_50", "average_precision", "matched_dice", "objects"):
        assert both[name] == pytest.approx(one[name], nan_ok=True)


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        overlap_table(np.zeros((3, 3), int), np.zeros((3, 4), int))


def test_large_numbers_take_no_room() -> None:
    found = np.array([[0, 2**31, 2**40]])
    assert overlap_table(found, found).shape == (3, 3)
