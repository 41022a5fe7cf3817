"""Which files belong together, by their names."""

import pytest

from shallow2deep.inputs.names import owners


@pytest.mark.parametrize(
    ("names", "keys", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["img10_Probabilities", "img1_Probabilities"], ["img1", "img10", "img2"], [1, 0]),
        (["a_1", "a"], ["a", "a_1"], [1, 0]),
        (["a2"], ["a"], None),
        (["a_x", "a_y"], ["a", "b"], None),
        (["a"], ["a", "a"], None),
    ],
)
def test_files_that_belong_together(names: list[str], keys: list[str], expected: list[int] | None) -> None:
    assert owners(names, keys) == expected
