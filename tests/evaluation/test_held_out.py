"""Splitting strokes, scores with intervals, recommendations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.evaluation.held_out import (
    Score,
    disagreement,
    recommend,
    right_shares,
    scores_of,
    split_strokes,
)


def drawing(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(2):
        strokes = np.zeros((40, 40), np.uint8)
        for row in range(0, 40, 4):
            strokes[row, 5 : 5 + rng.integers(2, 30)] = rng.integers(0, 3)
        images.append(strokes)
    return images


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.99))
def test_strokes_are_parted_whole(seed: int, share: float) -> None:
    strokes = drawing(seed)
    used, held = split_strokes(strokes, share, seed)
    for whole, a, b in zip(strokes, used, held, strict=True):
        np.testing.assert_array_equal(a + b, whole)
        assert not ((a > 0) & (b > 0)).any()
        for row in range(0, 40, 4):
            assert not (a[row].any() and b[row].any())
    for number in (1, 2):
        n = sum(int((s[::4].max(1) == number).sum()) for s in strokes)
        n_held = sum(int((s[::4].max(1) == number).sum()) for s in held)
        if n == 0 or share == 0:
            assert n_held == 0
        else:
            assert n_held == min(max(round(share * n), 1), n - 1)
    again = split_strokes(strokes, share, seed)
    assert all(np.array_equal(a, b) for a, b in zip(again[1], held, strict=True))


def test_shares_count_pixels_of_each_stroke() -> None:
    held = np.zeros((8, 8), np.uint8)
    held[0, :4], held[4, :4], held[7, 2:] = 1, 2, 2
    p = np.zeros((1, 8, 8), np.float32)
    p[0, 0, 0] = p[0, 4, :3] = 0.9
    shares = right_shares([p], [held])
    assert shares[1].tolist() == [0.75]
    assert sorted(shares[2].tolist()) == [0, 0.75]
    assert right_shares([p], [np.zeros_like(held)]) == {}


def test_scores_and_recommendation() -> None:
    rng = np.random.default_rng(0)
    forest = {1: rng.uniform(0.5, 0.7, 8), 2: rng.uniform(0.5, 0.7, 8)}
    better = {n: values + 0.2 for n, values in forest.items()}
    equal = {n: rng.permutation(values) for n, values in forest.items()}
    shares = {"forest": forest, "better": better, "equal": equal}
    scores = scores_of(shares, "forest", seed=0)
    assert scores["better"].gain == pytest.approx(0.2)
    assert scores["better"].gain_low == pytest.approx(0.2)
    assert scores["forest"].gain == scores["forest"].gain_high == 0
    assert scores["forest"].low < scores["forest"].accuracy < scores["forest"].high
    counts = {1: 8, 2: 8}
    name, reason = recommend(scores, counts, 2, "forest")
    assert name == "better"
    assert "+0.200" in reason
    name, reason = recommend({n: scores[n] for n in ("forest", "equal")}, counts, 2, "forest")
    assert name == "forest"
    assert "too weak" in reason
    name, reason = recommend(scores, {1: 8, 2: 1}, 2, "forest")
    assert name == "forest"
    assert "class 2 has 1" in reason


def test_the_steadier_of_equals_wins() -> None:
    base = Score(0.6, 0.5, 0.7, 0, 0, 0, 0.9)
    a, b = Score(0.9, 0.8, 0.95, 0.3, 0.2, 0.4, 0.7), Score(0.88, 0.8, 0.93, 0.28, 0.2, 0.4, 0.8)
    far = Score(0.75, 0.7, 0.8, 0.15, 0.1, 0.2, 0.99)
    name, reason = recommend({"forest": base, "a": a, "b": b, "far": far}, {1: 5, 2: 5}, 2, "forest")
    assert name == "b"
    assert "steadiest" in reason


def test_without_held_out_strokes_nothing_is_claimed() -> None:
    scores = scores_of({"forest": {}, "other": {}}, "forest", 0, {"other": 0.5})
    assert np.isnan(scores["other"].accuracy)
    assert scores["other"].consistency == 0.5
    assert recommend(scores, {}, 2, "forest")[0] == "forest"


def test_disagreement() -> None:
    zero, one = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    one[1, 1, 1] = 1
    found = disagreement([zero, one])
    assert found[1, 1] == 0.5
    assert found.sum() == 0.5
