"""MRC: values, axes and voxel sizes, or one sentence."""

import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.volumes import open_volume

VOLUME = np.random.default_rng(0).integers(-200, 200, (5, 20, 30)).astype(np.int16)


def written(path: Path, array: np.ndarray, size: float | tuple[float, float, float] = 0.0) -> Path:
    with mrcfile.new(path) as mrc:
        mrc.set_data(array)
        mrc.voxel_size = size
    return path


@pytest.mark.parametrize("ending", [".mrc", ".rec", ".st"])
def test_volumes_have_voxel_sizes(ending: str, tmp_path: Path) -> None:
    volume = open_volume(written(tmp_path / f"a{ending}", VOLUME, (11.0, 12.0, 30.0)))  # x, y, z in angstrom
    assert (volume.axes, volume.dtype) == ("zyx", np.int16)
    assert np.allclose(volume.voxel_size or (), (3.0, 1.2, 1.1))
    assert np.array_equal(volume.read(), VOLUME)
    assert np.array_equal(volume.read((slice(1, 3), slice(20), slice(4, 9))), VOLUME[1:3, :, 4:9])


def test_images_and_sizes_that_are_not_known(tmp_path: Path) -> None:
    image = open_volume(written(tmp_path / "a.mrc", VOLUME[0].astype(np.float32)))
    assert (image.axes, image.voxel_size) == ("yx", None)
    assert np.array_equal(image.read(), VOLUME[0])


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mrc", VOLUME)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFileError, match="cannot be read"):
        open_volume(path)
    written(tmp_path / "b.mrc", VOLUME[0].astype(np.complex64))
    with pytest.raises(InputError, match="numbers were expected"):
        open_volume(tmp_path / "b.mrc")
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    with pytest.raises(InputError, match=r"pip install 'shallow2deep\[vendors\]', or convert"):
        open_volume(tmp_path / "b.mrc")
