"""Channels by name or number, as files state them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume, open_volumes

IMAGE = np.random.default_rng(0).integers(0, 60000, (3, 20, 30)).astype(np.uint16)
NAMES = ("DAPI", "488", "Cy5")


def ome_tiff(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    path, metadata = folder / "a.ome.tif", {"axes": "CYX", "Channel": {"Name": list(names)}}
    tifffile.imwrite(path, IMAGE, metadata=metadata, photometric="minisblack")
    return path


def ome_zarr(folder: Path, version: str) -> Path:
    """Two levels, in folders that are not called by their numbers."""
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level, step in enumerate((1, 2)):
        group.create_array(f"scale/s{level}", data=IMAGE[:, ::step, ::step], chunks=(1, 8, 8))
        scale = {"type": "scale", "scale": [1, 0.25 * step, 0.25 * step]}
        datasets.append({"path": f"scale/s{level}", "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    found = {"multiscales": [{"version": version, "axes": axes, "datasets": datasets}]}
    found["omero"] = {"channels": [{"label": name, "color": "00FF00"} for name in NAMES]}  # type: ignore[assignment]
    group.attrs.update(found if version == "0.4" else {"ome": {"version": version} | found})
    return folder / "a.zarr"


@pytest.mark.parametrize("kind", ["tiff", "0.4", "0.5"])
def test_channels_by_name_and_number(kind: str, tmp_path: Path) -> None:
    volume = open_volume(ome_tiff(tmp_path) if kind == "tiff" else ome_zarr(tmp_path, kind))
    assert volume.channels == NAMES
    assert np.array_equal(volume.pick(["Cy5"]).read(), IMAGE[2])
    assert np.array_equal(volume.pick([488]).read(), IMAGE[1])  # a name before a number
    both = volume.pick([2, "DAPI"])
    assert (both.axes, both.shape, both.channels) == ("cyx", (2, 20, 30), ("Cy5", "DAPI"))
    assert np.array_equal(both.read(), IMAGE[[2, 0]])
    window = (slice(1, 2), slice(3, 9), slice(0, 5))
    assert np.array_equal(both.read(window), IMAGE[:1, 3:9, :5])
    assert np.array_equal(both.pick([1]).read(), IMAGE[0])
    assert len({volume.pick([n]).identity for n in range(3)} | {both.identity, volume.identity}) == 5
    for unknown in ("GFP", 3, -1):
        with pytest.raises(InputError, match=f'no one channel "{unknown}".*: 0 DAPI, 1 488, 2 Cy5$'):
            volume.pick([unknown])


def test_stained_channels_are_no_colours(tmp_path: Path) -> None:
    """Three of them would look like red, green and blue."""
    with pytest.raises(InputError, match=r"3 channels came \(0 DAPI, 1 488, 2 Cy5\).* choose what to use"):
        open_volume(ome_tiff(tmp_path)).grey()
    assert open_volume(ome_tiff(tmp_path, ("Red", "Green", "Blue"))).grey().shape == (20, 30)
    np.save(tmp_path / "a.npy", IMAGE[:2])
    with pytest.raises(InputError, match=r"2 channels came \(0, 1\)"):
        open_volume(tmp_path / "a.npy", axes="cyx").grey()


def test_names_that_are_there_twice_need_a_number(tmp_path: Path) -> None:
    volume = open_volume(ome_tiff(tmp_path, ("A", "A", "B")))
    with pytest.raises(InputError, match='no one channel "A"'):
        volume.pick(["A"])
    assert np.array_equal(volume.pick([1]).read(), IMAGE[1])


def test_files_with_one_channel(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "Channel": {"Name": "DAPI"}}
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE[0], metadata=metadata)
    volume = open_volume(tmp_path / "a.ome.tif")
    assert volume.pick(["DAPI"]) == volume.pick([0]) == volume
    with pytest.raises(InputError, match=r'no one channel "GFP".*: 0 DAPI'):
        volume.pick(["GFP"])


def test_positions_and_time_points_keep_their_channels(tmp_path: Path) -> None:
    path, stacks = tmp_path / "a.ome.tif", np.stack([IMAGE, IMAGE + 1])
    with tifffile.TiffWriter(path, ome=True) as tif:
        for n in range(2):
            names = [f"{name}{n}" for name in NAMES]
            metadata = {"axes": "TCYX", "Name": f"Pos{n}", "Channel": {"Name": names}}
            tif.write(stacks + np.uint16(n), metadata=metadata, photometric="minisblack")
    with pytest.raises(InputError, match=r"2 series .* 0: Pos0 tcyx"):
        open_volumes(path)
    first, second = open_volumes(f"{path}:Pos1")
    assert np.array_equal(first.pick(["Cy51"]).read(), IMAGE[2] + 1)
    assert np.array_equal(second.pick([0]).read(), IMAGE[0] + 2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_of_pyramids(version: str, tmp_path: Path) -> None:
    path = ome_zarr(tmp_path, version)
    assert open_volume(path).voxel_size == (250, 250)
    for name in (f"{path}:1", f"{path}/1", f"{path}:scale/s1"):
        coarse = open_volume(name)
        assert (coarse.axes, coarse.shape, coarse.voxel_size) == ("cyx", (3, 10, 15), (500, 500))
        assert np.array_equal(coarse.pick(["Cy5"]).read(), IMAGE[2, ::2, ::2])
    with pytest.raises(InputError, match='no array "2"'):
        open_volume(f"{path}:2")


def test_n5_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.n5").mkdir()
    with pytest.raises(InputError, match=r"N5 is not read.*convert it to Zarr"):
        open_volumes(tmp_path / "a.n5")


@pytest.mark.parametrize(("size", "expected"), [(0.25, (250, 250)), (1, None), (0, None)])
def test_a_size_of_one_is_no_size(size: float, expected: tuple[float, float] | None, tmp_path: Path) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE[0], metadata=metadata)
    assert open_volume(tmp_path / "a.ome.tif").voxel_size == expected
    assert open_volume(tmp_path / "a.ome.tif", voxel_size=(1000, 1000)).voxel_size == (1000, 1000)
