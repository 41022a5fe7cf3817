"""Scores against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from shallow2deep.errors import InputError
from shallow2deep.evaluation.metrics import pooled_score, score


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_same_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((20, 30)) > 0.6
    p = np.clip(0.5 * truth + 0.6 * rng.random(truth.shape), 0, 1)
    found, t = p.ravel() > 0.5, truth.ravel()
    scores = score(p, truth)
    assert scores["dice"] == pytest.approx(f1_score(t, found))
    assert scores["iou"] == pytest.approx(jaccard_score(t, found))
    assert scores["precision"] == pytest.approx(precision_score(t, found))
    assert scores["recall"] == pytest.approx(recall_score(t, found))
    soft = 2 * (p * truth).sum() / ((p**2).sum() + truth.sum())
    assert scores["soft_dice"] == pytest.approx(soft)


def test_perfect_and_empty() -> None:
    truth = np.eye(8, dtype=bool)
    assert {v for k, v in score(truth.astype(float), truth).items() if "pixels" not in k} == {1.0}
    empty = score(np.zeros((8, 8)), np.zeros((8, 8), bool))
    assert np.isnan(empty["dice"])


def test_only_valid_pixels_count() -> None:
    truth = np.zeros((10, 10), bool)
    truth[:5] = True
    p = truth.astype(float)
    p[8:] = 1
    valid = np.ones_like(truth)
    assert score(p, truth, valid)["dice"] < 1
    valid[8:] = False
    assert score(p, truth, valid)["dice"] == 1


def test_tolerance_leaves_out_the_boundary() -> None:
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    p = np.zeros((40, 40))
    p[11:29, 11:29] = 1  # one pixel too small
    assert score(p, truth)["dice"] < 1
    assert score(p, truth, tolerance=1)["dice"] == 1
    assert score(p, truth, tolerance=1)["pixels"] < p.size


def test_pooled_is_the_score_of_all_pixels() -> None:
    rng = np.random.default_rng(0)
    ps = [rng.random((9, 9)), rng.random((5, 7))]
    ts = [rng.random((9, 9)) > 0.5, np.zeros((5, 7), bool)]
    both = score(np.concatenate([p.ravel() for p in ps]), np.concatenate([t.ravel() for t in ts]))
    assert pooled_score(ps, ts) == pytest.approx(both, abs=1e-6)


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        score(np.zeros((3, 3)), np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="no pixel"):
        score(np.zeros((3, 3)), np.zeros((3, 3), bool), np.zeros((3, 3), bool))
