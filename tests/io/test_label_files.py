"""Label images, masks and tables in files."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from shallow2deep.errors import InputError
from shallow2deep.io.label_files import write_labels, write_mask
from shallow2deep.io.tables import join_csv, write_csv
from shallow2deep.io.volumes import open_volume


@pytest.mark.parametrize("ending", ["tif", "zarr"])
@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6), (1, 5, 6), (1, 1)])
@pytest.mark.parametrize("highest", [0, 3, 70_000])
@pytest.mark.parametrize("known", [True, False])
def test_labels_are_read_back(ending: str, shape: tuple, highest: int, known: bool, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, highest + 1, shape).astype(np.int32)
    labels.flat[-1] = highest
    size = (300.0, 65.0, 70.0)[-len(shape) :] if known else None
    paths = [write_labels(tmp_path / f"{name}.{ending}", labels, size) for name in ("a", "b")]
    volume = open_volume(paths[0])
    if (shape, highest, ending) == ((1, 5, 6), 70_000, "tif"):  # OME-TIFF tells no plane from an image
        labels, shape, size = labels[0], shape[1:], size and size[1:]
    assert volume.axes == "zyx"[-len(shape) :]
    assert volume.dtype == (np.uint32 if highest > 65535 else np.uint16)
    np.testing.assert_array_equal(volume.read(), labels)
    assert volume.voxel_size == (pytest.approx(size) if known else None)
    if ending == "tif":
        assert paths[0].read_bytes() == paths[1].read_bytes()
        np.testing.assert_array_equal(tifffile.imread(paths[0]).reshape(shape), labels)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.tif or \.zarr"):
        write_labels(tmp_path / "a.png", np.zeros((3, 3), int))


def test_masks(tmp_path: Path) -> None:
    mask = np.eye(4, dtype=bool)
    path = write_mask(tmp_path / "a.png", mask)
    np.testing.assert_array_equal(iio.imread(path), mask * np.uint8(255))
    volume = write_mask(tmp_path / "b.tif", np.stack([mask, ~mask]), (300.0, 65.0, 65.0))
    assert open_volume(volume).voxel_size == pytest.approx((300, 65, 65))
    assert set(np.unique(open_volume(volume).read())) == {0, 255}


def test_tables(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", {"label": np.array([1, 2]), "x": np.array([1 / 3, np.nan])})
    write_csv(tmp_path / "b.csv", {"label": np.zeros(0, int), "y, z": np.zeros(0)})
    assert (tmp_path / "a.csv").read_text() == "label,x\n1,0.3333333\n2,\n"
    assert (tmp_path / "b.csv").read_text() == 'label,"y, z"\n'
    join_csv(tmp_path / "all.csv", {n: tmp_path / f"{n}.csv" for n in "ab"}, "image")
    assert (tmp_path / "all.csv").read_text() == 'image,label,x,"y, z"\na,1,0.3333333,\na,2,,\n'
