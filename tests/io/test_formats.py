"""Names: what they mean, and what is said where they lead nowhere."""

import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import zarr

from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.io.formats import split_name
from shallow2deep.io.volumes import open_volume, open_volumes

IMAGE = np.random.default_rng(0).integers(0, 200, (20, 30)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "path", "key"),
    [
        ("a.zarr/0", "a.zarr", "0"),
        ("a.ome.zarr/B/03/0/", "a.ome.zarr", "B/03/0"),
        ("a.zarr/", "a.zarr", None),
        ("a.zarr/:0", "a.zarr", "0"),
        ("a.h5/volumes/raw", "a.h5", "volumes/raw"),
        ("folder.zarr/b.png", "folder.zarr/b.png", None),
        ("a.tif:Pos 1", "a.tif", "Pos 1"),
        ("C:\\data\\a.tiff", "C:\\data\\a.tiff", None),
        ("file:///data/a%20b.zarr/s0", "/data/a b.zarr", "s0"),
        ("file://localhost/data/a.h5:raw", "/data/a.h5", "raw"),
        ("file:/data/a.png", "/data/a.png", None),
        ("file:///C:/data/a.zarr", "C:/data/a.zarr", None),
    ],
)
def test_path_and_inner_path(name: str, path: str, key: str | None) -> None:
    assert split_name(name) == (Path(path), key)


def test_arrays_in_zarr_by_their_folder(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("B/03/0", data=IMAGE, chunks=(8, 8))
    for name in ("a.zarr/B/03/0", "a.zarr:B/03/0", "a.zarr/B"):
        (volume,) = open_volumes(f"{tmp_path}/{name}")
        assert np.array_equal(volume.read(), IMAGE)
    assert np.array_equal(open_volume(f"file://{tmp_path}/a.zarr/B/03").read(), IMAGE)
    with pytest.raises(InputError, match='no array "C"'):
        open_volumes(f"{tmp_path}/a.zarr/C")


def test_ome_zarr_that_states_no_axes(tmp_path: Path) -> None:
    """As before version 0.3."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=IMAGE[None, None, None], chunks=(1, 1, 1, 8, 8))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    (volume,) = open_volumes(tmp_path / "a.zarr")
    assert (volume.axes, volume.shape) == ("czyx", (1, 1, 20, 30))


def test_brackets_in_names(tmp_path: Path) -> None:
    folder = tmp_path / "d [1]" / "in[2]"
    folder.mkdir(parents=True)
    for n in (1, 2):
        iio.imwrite(folder / f"im[{n}].png", IMAGE + n)
    for pattern in ("d [1]/in[2]/*.png", "d [1]/*/im[[]1].png", "*/in[2]/*.png", "d*/in[2]/im[1].png"):
        assert open_volumes(tmp_path / pattern), pattern
    (volume,) = open_volumes(folder / "im[1].png")
    assert np.array_equal(volume.read(), IMAGE + 1)
    # a pattern is one where nothing has its name
    assert len(open_volumes(f"{folder}/im?[12]?.png")) == 2


def test_what_did_not_match_is_named(tmp_path: Path) -> None:
    (tmp_path / "d [1]").mkdir()
    with pytest.raises(MissingDataError, match=r'nothing in \S+/d \[1\] is called "\*\.png"'):
        open_volumes(tmp_path / "d [1]" / "*.png")
    with pytest.raises(MissingDataError, match="no file to read, as the folder has none"):
        open_volumes(tmp_path / "d [1]")
    with pytest.raises(MissingDataError, match=r"no such file, as there is no folder \S+/gone;"):
        open_volumes(tmp_path / "gone" / "deep" / "a.png")


@pytest.mark.parametrize("ending", ["czi", "nd2", "lif"])
def test_files_of_microscopes_have_a_way_out(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"something")
    for name in (tmp_path / f"a.{ending}", tmp_path, tmp_path / "*"):
        with pytest.raises(InputError, match=r"convert it to OME-TIFF .* or to OME-Zarr"):
            open_volumes(name)


@pytest.mark.parametrize("ending", ["png", "tif", "h5", "npy", "ilp"])
def test_pipes_do_not_hang(ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"a.{ending}")
    with pytest.raises(InputError, match="no regular file"):
        open_volume(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("name", [".zarray", "0.0"])
def test_pipes_in_zarr_do_not_hang(name: str, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=(20, 30), zarr_format=2)
    (tmp_path / "a.zarr" / name).unlink()
    os.mkfifo(tmp_path / "a.zarr" / name)
    with pytest.raises(InputError, match="no regular file"):
        open_volume(tmp_path / "a.zarr").read()


def _image(group: zarr.Group, values: np.ndarray) -> None:
    for level in range(2):
        step = 2**level
        group.create_array(str(level), data=values[::step, ::step], chunks=(8, 8))
    axes = [{"name": a, "type": "space"} for a in "yx"]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}
    ]


def test_images_in_one_ome_zarr_are_chosen_as_images(tmp_path: Path) -> None:
    """As bioformats2raw writes them: one needs no choice, of several none is taken in silence."""
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    _image(root.create_group("0"), IMAGE)
    (volume,) = open_volumes(tmp_path / "a.zarr")
    assert np.array_equal(volume.read(), IMAGE)
    _image(root.create_group("1"), IMAGE + 1)
    with pytest.raises(InputError, match=r"2 arrays and no choice; .* out of: 0, 1"):
        open_volumes(tmp_path / "a.zarr")
    assert np.array_equal(open_volume(tmp_path / "a.zarr" / "1").read(), IMAGE + 1)


def test_several_images_of_one_ome_zarr_group(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    _image(root, IMAGE)
    root.create_array("other", data=IMAGE + 1, chunks=(8, 8))
    (first,) = root.attrs["multiscales"]
    root.attrs["multiscales"] = [first, first | {"datasets": [{"path": "other"}]}]
    with pytest.raises(InputError, match="out of: 0, other"):
        open_volumes(tmp_path / "a.zarr")
    assert open_volume(f"{tmp_path}/a.zarr:other").axes == "yx"
