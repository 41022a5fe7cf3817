"""Strokes: whole numbers with a class each, or one sentence that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from shallow2deep.errors import InputError
from shallow2deep.inputs.strokes import read_strokes
from shallow2deep.io.volumes import Volume, open_volume

CLASSES = ("background", "nuclei")


def stored(folder: Path, *arrays: np.ndarray) -> list[Volume]:
    for n, array in enumerate(arrays):
        np.save(folder / f"{n}.npy", array)
    return [open_volume(folder / f"{n}.npy") for n in range(len(arrays))]


def strokes(*rows: tuple[int, int]) -> np.ndarray:
    out = np.zeros((10, 12), np.uint8)
    for row, value in rows:
        out[row, 2:8] = value
    return out


def test_values_are_mapped_to_classes(tmp_path: Path) -> None:
    (raw,) = stored(tmp_path, np.zeros((10, 12)))
    (drawn,) = stored(tmp_path, strokes((1, 7), (5, 3)))
    (found,) = read_strokes([drawn], [raw], {3: 1, 7: 2}, CLASSES)
    assert (found[1, 2:8] == 2).all()
    assert (found[5, 2:8] == 1).all()
    assert np.count_nonzero(found) == 12


@pytest.mark.parametrize(
    ("arrays", "mapping", "word"),
    [
        ([strokes()], {1: 1, 2: 2}, "no stroke"),
        ([strokes((1, 2))], {1: 1, 2: 2}, "draw strokes of background"),
        ([strokes((1, 1), (2, 9))], {1: 1, 2: 2}, "9"),
        ([strokes((1, 1), (2, 2)) + 0.5], {1: 1, 2: 2}, "fractions"),
        ([np.where(strokes((1, 1)) > 0, 1, 2)], {1: 1, 2: 2}, "dense"),
        ([strokes((1, 1), (2, 2))[:5]], {1: 1, 2: 2}, "shape"),
        ([strokes((1, 1))] * 2, {1: 1, 2: 2}, "one for each"),
        ([strokes((1, 1), (2, 2))], {1: 1, 2: 5}, "class 5"),
    ],
)
def test_unusable_strokes(
    arrays: list[np.ndarray], mapping: dict[int, int], word: str, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    raws = stored(tmp_path / "raw", np.zeros((10, 12)))
    with pytest.raises(InputError, match=word):
        read_strokes(stored(tmp_path, *arrays), raws, mapping, CLASSES)
