"""Probability maps: what is written is read again, by us and by the formats' own libraries."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from shallow2deep.errors import InputError, NotFiniteError
from shallow2deep.io.disk_map import DiskMap
from shallow2deep.io.map_files import read_outputs, write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import BOUNDARY, Output, of_foreground, of_forest

SHAPES = [(2, 20, 30), (2, 5, 20, 30), (1, 1, 20, 30), (1, 20, 30)]


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".tif"])
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(ending: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    p = np.random.default_rng(0).random(shape, np.float32)
    voxel_size = (50.0, 4.0, 5.0)[4 - len(shape) :]
    outputs = [Output(f"class {n}", BOUNDARY) for n in range(len(p))]
    written = write_probabilities(tmp_path / f"p{ending}", p, outputs, voxel_size)
    volume = open_volume(written)
    assert volume.axes == "czyx"[4 - len(shape) :] if len(shape) == 4 else "cyx"
    assert volume.voxel_size == pytest.approx(voxel_size, rel=1e-5)
    assert np.array_equal(volume.read(), p)
    assert read_outputs(written) == tuple(outputs)


def test_other_libraries_read_axes_and_names(tmp_path: Path) -> None:
    p = np.random.default_rng(0).random((2, 4, 20, 30), np.float32)
    for ending in (".h5", ".zarr", ".tif"):
        write_probabilities(tmp_path / f"p{ending}", p, of_forest(["background", "nuclei"]), (50, 4, 5))
    with h5py.File(tmp_path / "p.h5") as file:
        assert '"key": "z"' in file["exported_data"].attrs["axistags"]
    group = zarr.open_group(tmp_path / "p.zarr", mode="r")
    assert group.metadata.zarr_format == 2
    image = group.attrs["multiscales"][0]
    assert [axis["name"] for axis in image["axes"]] == list("czyx")
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 50, 4, 5]
    with tifffile.TiffFile(tmp_path / "p.tif") as tif:
        assert tif.series[0].axes == "ZCYX"
        assert tif.imagej_metadata["Labels"][:2] == ["background", "nuclei"]
        assert np.array_equal(tif.asarray(), p.swapaxes(0, 1))


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".tif"])
def test_the_same_bytes_every_time(ending: str, tmp_path: Path) -> None:
    p = np.random.default_rng(0).random((2, 20, 30), np.float32)
    found = []
    for folder in ("a", "b"):
        path = write_probabilities(tmp_path / folder / f"p{ending}", p, of_foreground("ab"))
        files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
        found.append([file.read_bytes() for file in files])
    assert found[0] == found[1]


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".tif"])
@pytest.mark.parametrize("shape", [(2, 600, 700), (2, 40, 150, 130)])
def test_maps_on_disk_give_the_same_files(ending: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    p = np.random.default_rng(0).random(shape, np.float32)
    on_disk = DiskMap(shape)
    on_disk.write(tuple(slice(0, n) for n in shape[1:]), p)
    one = write_probabilities(tmp_path / f"one{ending}", p, of_foreground("ab"))
    other = write_probabilities(tmp_path / f"other{ending}", on_disk, of_foreground("ab"))
    assert np.array_equal(open_volume(other).read(), p)
    assert ending == ".zarr" or one.read_bytes() == other.read_bytes()


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    p = np.zeros((2, 600, 30), np.float32)
    p[1, 590, 3] = np.nan
    with pytest.raises(NotFiniteError):
        write_probabilities(tmp_path / "p.h5", p, of_foreground("ab"))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    p = np.zeros((2, 4, 4), np.float32)
    for path, names, size in (
        ("p.png", "ab", None),
        ("p.h5:../x", "ab", None),
        ("p.h5", "a", None),
        ("p.h5", "ab", (1, 2, 3)),
    ):
        with pytest.raises(InputError):
            write_probabilities(tmp_path / path, p, of_foreground(names), size)
    assert not list(tmp_path.iterdir())
