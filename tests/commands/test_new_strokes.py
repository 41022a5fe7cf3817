"""Empty stroke files for other programs."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from shallow2deep.commands.new_strokes import new_strokes
from shallow2deep.errors import InputError
from shallow2deep.inputs.strokes import open_strokes
from shallow2deep.io.volumes import open_volume, open_volumes
from shallow2deep.settings import TargetData


@pytest.fixture
def images(tmp_path: Path) -> Path:
    iio.imwrite(tmp_path / "a_raw.png", np.zeros((40, 50, 3), np.uint8))
    tifffile.imwrite(
        tmp_path / "b_raw.tif", np.zeros((4, 40, 50), np.uint16), imagej=True, metadata={"axes": "ZYX"}
    )
    return tmp_path


def test_they_have_the_shape_of_their_images(images: Path) -> None:
    made = new_strokes([str(images)], images / "strokes")
    assert [path.name for path in made] == ["a_strokes.tif", "b_strokes.tif"]
    assert [open_volume(path).shape for path in made] == [(40, 50), (4, 40, 50)]
    assert not any(open_volume(path).read().any() for path in made)


def test_painted_elsewhere_they_are_found_by_name(images: Path) -> None:
    (path, _) = new_strokes([str(images)], images / "strokes")
    values = np.zeros((40, 50), np.uint16)
    values[3, :9], values[9, :9] = 1, 2
    tifffile.imwrite(path, values)
    data = TargetData(raw=(str(images / "a_raw.png"),), strokes=(str(path),))
    (found,) = open_strokes(data, 2, ("background", "foreground"), [v.grey() for v in open_volumes(data.raw)])
    assert found.counts == {1: 9, 2: 9}


def test_nothing_is_overwritten(images: Path) -> None:
    new_strokes([str(images / "b_raw.tif")], images / "strokes")
    with pytest.raises(InputError, match="exists already"):
        new_strokes([str(images)], images / "strokes")
    assert not (images / "strokes/a_strokes.tif").exists()


def test_names_that_would_be_one_are_refused(images: Path) -> None:
    iio.imwrite(images / "a.png", np.zeros((40, 50), np.uint8))
    with pytest.raises(InputError, match="two images would get"):
        new_strokes([str(images)], images / "strokes")
