"""Sentences that tell a user what to do next."""

from shallow2deep.evaluation.advice import advice

ENOUGH = {"background": 9, "disc": 8}


def test_nothing_to_say() -> None:
    assert advice(ENOUGH, ["a"], [], {"disc": (0.1, 0.08)}, []) == []


def test_few_strokes() -> None:
    (text,) = advice({"background": 9, "disc": 3}, ["a"], [], {}, [])
    assert "disc has 3" in text
    assert "background" not in text


def test_images_unlike_the_painted_ones() -> None:
    (text,) = advice(ENOUGH, list("abcdef"), list("bcde"), {}, [])
    assert text.startswith("4 of 6 images differ in brightness")
    assert "(b, c, d, …)" in text


def test_an_enhanced_map_that_sees_hardly_anything_or_far_more() -> None:
    (text,) = advice(ENOUGH, ["a"], [], {"disc": (0.2, 0.01)}, [])
    assert "sees disc in 1.0% of the pixels, the forest in 20.0%" in text
    assert "background should be painted" in text
    (text,) = advice(ENOUGH, ["a"], [], {"disc": (0.01, 0.2)}, [])
    assert "misses disc" in text
    assert advice(ENOUGH, ["a"], [], {"disc": (0.0, 0.0)}, []) == []


def test_places_where_results_differ() -> None:
    seen = ["disc by forest, background by enhanced"] * 3 + ["background by forest, disc by enhanced"]
    (text,) = advice(ENOUGH, ["a"], [], {}, seen)
    assert "3 of 4 places it is disc by forest, background by enhanced" in text
