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
        for row in range(0, 40, 2):
            strokes[row, 5 : 5 + rng.integers(2, 30)] = rng.integers(0, 3)
        images.append(strokes)
    return images


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.floats(0, 0.99))
def test_strokes_are_parted_whole(seed: int, share: float) -> None:
    strokes = drawing(seed)
    used, held = split_strokes(strokes, share, seed)
    for whole, a, b in zip(strokes, used, held, strict=True):
        np.testing.assert_array_equal(a + b, whole)
        assert not ((a > 0) & (b > 0)).any()
        for row in range(0, 40, 2):
            assert not (a[row].any() and b[row].any())
    counts = {k: sum(int((s.max(1) == k).sum()) for s in strokes) for k in (1, 2)}
    judged = share > 0 and min(counts.values()) >= 8
    for number, n in counts.items():
        n_held = sum(int((s.max(1) == number).sum()) for s in held)
        assert n_held == (min(max(round(share * n), 4), n // 2) if judged else 0)
    again = split_strokes(strokes, share, seed)
    assert all(np.array_equal(a, b) for a, b in zip(again[1], held, strict=True))


def test_shares_count_pixels_of_each_stroke() -> None:
    held = np.zeros((8, 8), np.uint8)
    held[0, :4], held[4, :4], held[7, 2:] = 1, 2, 2
    p = np.zeros((1, 8, 8), np.float32)
    p[0, 0, 0] = p[0, 4, :3] = 0.9
    shares = right_shares([p], [held], exclusive=False)
    assert shares[1].tolist() == [0.75]
    assert sorted(shares[2].tolist()) == [0, 0.75]
    assert right_shares([p], [np.zeros_like(held)], exclusive=False) == {}


def test_the_largest_of_a_forests_probabilities_counts() -> None:
    p = np.stack([np.full((1, 1), 0.45), np.full((1, 1), 0.25)])  # and 0.3 of background
    assert right_shares([p], [np.full((1, 1), 2)], exclusive=True)[2].tolist() == [1]
    assert right_shares([p], [np.full((1, 1), 1)], exclusive=False)[1].tolist() == [1]


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
    counts = {"ground": 8, "disc": 8}
    name, reason = recommend(scores, counts, "forest")
    assert name == "better"
    assert "+0.200" in reason
    name, reason = recommend({n: scores[n] for n in ("forest", "equal")}, counts, "forest")
    assert name == "forest"
    assert "too weak" in reason
    name, reason = recommend(scores, {"ground": 8, "disc": 1}, "forest")
    assert name == "forest"
    assert "disc has 1" in reason


def test_the_steadier_of_equals_wins() -> None:
    base = Score(0.6, 0.5, 0.7, 0, 0, 0, 0.9)
    a, b = Score(0.9, 0.8, 0.95, 0.3, 0.2, 0.4, 0.7), Score(0.895, 0.8, 0.93, 0.28, 0.2, 0.4, 0.8)
    far = Score(0.75, 0.7, 0.8, 0.15, 0.1, 0.2, 0.99)
    name, reason = recommend({"forest": base, "a": a, "b": b, "far": far}, {"ground": 5, "disc": 5}, "forest")
    assert name == "b"
    assert "changes least" in reason


def test_what_strokes_do_not_rule_out_is_taken_in_the_order_given() -> None:
    base = Score(0.95, 0.9, 1, 0, 0, 0, 0.9)
    worse = Score(0.6, 0.5, 0.7, -0.35, -0.4, -0.3, 0.9)
    alike = Score(0.93, 0.8, 1, -0.02, -0.1, 0.01, 0.9)
    better = Score(0.99, 0.95, 1, 0.04, 0.01, 0.08, 0.9)
    scores = {"forest": base, "net": worse, "enhanced": alike}
    counts = {"ground": 5, "disc": 5}
    name, reason = recommend(scores, counts, "forest", ["net", "enhanced"])
    assert name == "enhanced"
    assert "not surely worse" in reason
    assert recommend(scores, counts, "forest", ["net"])[0] == "forest"
    little = Score(0.93, 0.9, 0.95, -0.02, -0.03, -0.01, 0.9)  # surely worse, but by little
    assert recommend({"forest": base, "enhanced": little}, counts, "forest", ["enhanced"])[0] == "enhanced"
    assert recommend(scores | {"other": better}, counts, "forest", ["net", "enhanced"])[0] == "other"
    name, reason = recommend(scores, {"ground": 5, "disc": 1}, "forest", ["enhanced"])
    assert name == "enhanced"
    assert reason.startswith("a guess")


def test_without_held_out_strokes_nothing_is_claimed() -> None:
    scores = scores_of({"forest": {}, "other": {}}, "forest", 0, {"other": 0.5})
    assert np.isnan(scores["other"].accuracy)
    assert scores["other"].consistency == 0.5
    name, reason = recommend(scores, {}, "forest")
    assert name == "forest"
    assert "no strokes were held out" in reason


def test_what_is_as_good_as_the_forest_is_hardly_ever_recommended() -> None:
    taken = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shares = {name: {1: rng.uniform(0.5, 1, 8), 2: rng.uniform(0.5, 1, 8)} for name in "abcd"}
        taken += recommend(scores_of(shares, "a", seed), {"ground": 8, "disc": 8}, "a")[0] != "a"
    assert taken < 20


def test_disagreement() -> None:
    zero, one = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    one[1, 1, 1] = 1
    found = disagreement([zero, one])
    assert found[1, 1] == 0.5
    assert found.sum() == 0.5
