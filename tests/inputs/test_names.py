"""Which files belong together, by their names."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from shallow2deep.inputs.names import owners, plain_name
from shallow2deep.io.volumes import open_volume


@pytest.mark.parametrize(
    ("names", "keys", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["img10_Probabilities", "img1_Probabilities"], ["img1", "img10", "img2"], [1, 0]),
        (["a_1", "a"], ["a", "a_1"], [1, 0]),
        (["a2"], ["a"], None),
        (["a_x", "a_y"], ["a", "b"], None),
        (["a"], ["a", "a"], None),
        (["y", "x_seg"], ["x_0000", "y_0000"], [1, 0]),
        (["x_0000_labels"], ["x_0000", "x_0001"], [0]),
        (["x"], ["x_0000", "x_0001"], None),
    ],
)
def test_files_that_belong_together(names: list[str], keys: list[str], expected: list[int] | None) -> None:
    assert owners(names, keys) == expected


@pytest.mark.parametrize("name", ["a.ome.tif", "a_strokes.tif", "a_strokes.ome.tif", "a_raw.OME.tiff"])
def test_what_does_not_belong_to_a_name(name: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / name, np.zeros((4, 4), np.uint8))
    assert plain_name(open_volume(tmp_path / name)) == "a"
