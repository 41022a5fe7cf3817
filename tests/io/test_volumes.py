"""Volumes: the same content from every format, window by window, and clear words for what cannot be read."""

from collections.abc import Callable
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.volumes import Volume, check_finite, open_volume, open_volumes

Store = Callable[[Path, np.ndarray, str], str]


def image(shape: tuple[int, ...] = (20, 30), dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_plane_from_every_format(store: Store, tmp_path: Path) -> None:
    raw = image()
    volume = open_volume(store(tmp_path, raw, "yx"))
    assert (volume.axes, volume.shape, volume.dtype) == ("yx", raw.shape, raw.dtype)
    assert np.array_equal(volume.read(), raw)
    window = (slice(3, 9), slice(10, 30))
    assert np.array_equal(volume.read(window), raw[window])
    assert np.array_equal(volume.crop(window).read((slice(1, 4), slice(2, 5))), raw[4:7, 12:15])


def test_volume_from_every_format(store: Store, stacks: bool, tmp_path: Path) -> None:
    if not stacks:
        pytest.skip("PNG holds planes only")
    raw = image((6, 20, 30))
    volume = open_volume(store(tmp_path, raw, "zyx"))
    assert (volume.axes, volume.ndim) == ("zyx", 3)
    assert np.array_equal(volume.read((slice(2, 4), slice(0, 20), slice(5, 6))), raw[2:4, :, 5:6])
    planes = volume.planes()
    assert len(planes) == 6
    assert np.array_equal(planes[4].read(), raw[4])


def test_channels_come_first_and_colour_becomes_grey(store: Store, tmp_path: Path) -> None:
    rgb = image((20, 30, 3))
    volume = open_volume(store(tmp_path, rgb, "yxc"), axes="yxc")
    assert (volume.axes, volume.shape, volume.spatial_shape) == ("cyx", (3, 20, 30), (20, 30))
    assert np.array_equal(volume.read(), np.moveaxis(rgb, -1, 0))
    grey = volume.grey()
    np.testing.assert_allclose(grey.read(), rgb @ np.array([0.299, 0.587, 0.114]), rtol=1e-5)
    window = (slice(2, 9), slice(4, 5))
    assert np.array_equal(grey.read(window), grey.read()[window])


def test_fingerprint_is_that_of_the_content(stores: dict[str, Store], tmp_path: Path) -> None:
    raw = image()
    found = set()
    for number, store in enumerate(stores.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.add(open_volume(store(folder, raw, "yx")).fingerprint())
    assert len(found) == 1
    np.save(tmp_path / "other.npy", raw + 1)
    assert open_volume(tmp_path / "other.npy").fingerprint() not in found


def test_lazy(tmp_path: Path) -> None:
    """A plane of a volume that is far larger than memory can be read."""
    with h5py.File(tmp_path / "large.h5", "w") as file:
        data = file.create_dataset("raw", (4000, 40000, 40000), "f4", chunks=(1, 100, 100))
        data[7, :100, :100] = 5
    plane = open_volume(f"{tmp_path}/large.h5:raw").planes()[7].crop((slice(0, 50), slice(0, 60)))
    assert (plane.read() == 5).all()
    with pytest.raises(InputError, match="memory"):
        open_volume(f"{tmp_path}/large.h5:raw").read()


def test_voxel_size_from_metadata_or_settings(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=image((3, 4, 5))).attrs["voxel_size_nm"] = (50, 4, 4)
    assert open_volume(f"{tmp_path}/a.h5:raw").voxel_size == (50, 4, 4)
    assert open_volume(f"{tmp_path}/a.h5:raw", voxel_size=(1, 2, 3)).voxel_size == (1, 2, 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        image(),
        imagej=True,
        resolution=(10, 20),
        metadata={"unit": "micron", "axes": "YX"},
    )
    assert open_volume(tmp_path / "a.tif").voxel_size == pytest.approx((50, 100))
    with pytest.raises(InputError, match="voxel size"):
        open_volume(tmp_path / "a.tif", voxel_size=(1, 2, 3))


def test_folders_and_patterns_in_natural_order(tmp_path: Path) -> None:
    for n in (10, 2, 1):
        iio.imwrite(tmp_path / f"image{n}.png", np.full((4, 4), n, np.uint8))
    for name in (tmp_path, tmp_path / "*.png"):
        assert [int(v.read()[0, 0]) for v in open_volumes(name)] == [1, 2, 10]
    with pytest.raises(InputError, match="no file"):
        open_volumes(tmp_path / "*.tif")


def test_finite(tmp_path: Path) -> None:
    raw = image(dtype="float32")
    raw[4, 5] = np.nan
    np.save(tmp_path / "a.npy", raw)
    with pytest.raises(InputError, match=r"\(4, 5\)"):
        check_finite(open_volume(tmp_path / "a.npy"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_refused(store: Store, share: float, tmp_path: Path) -> None:
    name = store(tmp_path, image((60, 70)), "yx")
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name[0] != "." and p.suffix != ".json"]
    for file in files:
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError):
        _read(open_volume(name))


def _read(volume: Volume) -> np.ndarray:
    return volume.read()


def test_pickled_numpy_files_are_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DamagedFileError):
        open_volume(tmp_path / "a.npy")


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"] = image(), image()
    for name, word in (
        (f"{tmp_path}/none.h5:raw", "no such file"),
        (f"{tmp_path}/a.h5:three", "one, two"),
        (f"{tmp_path}/a.h5", "one, two"),
        (f"{tmp_path}/a.doc", "no such file"),
    ):
        with pytest.raises(InputError, match=word):
            open_volume(name)
    (tmp_path / "a.doc").write_text("hello")
    with pytest.raises(InputError, match="ending"):
        open_volume(tmp_path / "a.doc")


def test_time_series_are_opened_point_by_point(tmp_path: Path) -> None:
    raw = image((2, 3, 20, 30))
    np.save(tmp_path / "a.npy", np.moveaxis(raw, 0, 2))
    tifffile.imwrite(tmp_path / "b.tif", raw, imagej=True, metadata={"axes": "TZYX"})
    for name, axes in (("a.npy", "zytx"), ("b.tif", None)):
        found = open_volumes(tmp_path / name, axes, (5, 1, 1))
        assert [v.name for v in found] == [f"{tmp_path / name} t=0", f"{tmp_path / name} t=1"]
        assert [(v.time, v.axes, v.file, v.voxel_size) for v in found] == [
            (t, "zyx", tmp_path / name, (5, 1, 1)) for t in range(2)
        ]
        assert all(np.array_equal(v.read(), raw[t]) for t, v in enumerate(found))
    with pytest.raises(InputError, match="3 letters"):
        open_volumes(tmp_path / "a.npy", "tyx")
    np.save(tmp_path / "one.npy", raw[:1, 0])
    (one,) = open_volumes(tmp_path / "one.npy", "tyx")
    assert (one.time, one.axes) == (None, "yx")
    assert np.array_equal(one.read(), raw[0, 0])


def test_time_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", image((2, 4, 5)))
    with pytest.raises(InputError, match="time"):
        open_volume(tmp_path / "a.npy", axes="tyx")
    np.save(tmp_path / "b.npy", image().astype(complex))
    with pytest.raises(InputError, match="numbers"):
        open_volume(tmp_path / "b.npy")
