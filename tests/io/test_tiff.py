"""TIFF: read whole, or what is in the file is named and one is chosen; never the first in silence."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume, open_volumes

PAGES = np.random.default_rng(0).integers(0, 200, (6, 20, 30)).astype(np.uint8)


def written(path: Path, *pages: np.ndarray, **options: object) -> Path:
    with tifffile.TiffWriter(path, ome=path.name.endswith(".ome.tif")) as tif:
        for page in pages:
            tif.write(page, **options)  # type: ignore[arg-type]
    return path


def test_positions_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for n in range(3):
            size = {"PhysicalSizeX": n + 1, "PhysicalSizeY": n + 1}
            tif.write(PAGES[n], metadata={"axes": "YX", "Name": f"Pos{n}", **size})
    with pytest.raises(InputError, match=r"3 series .* 0: Pos0 yx \(20, 30\) uint8, 1: Pos1 .* 2: Pos2"):
        open_volume(path)
    for key in ("1", "Pos1"):
        volume = open_volume(f"{path}:{key}")
        assert np.array_equal(volume.read(), PAGES[1])
        assert volume.voxel_size == (2000, 2000)
        assert volume.file == path
    assert len({open_volume(f"{path}:{n}").identity for n in range(3)}) == 3
    for key in ("3", "Pos9", "-1"):
        with pytest.raises(InputError, match=f'no series "{key}"'):
            open_volume(f"{path}:{key}")
    assert [v.read()[0, 0] for v in open_volumes(f"{tmp_path}/*.ome.tif:2")] == [PAGES[2, 0, 0]]


@pytest.mark.parametrize(
    "pages",
    [
        [np.zeros((8, 9), np.uint8), *PAGES],  # another size
        [PAGES[0].astype(np.float32), *PAGES],  # another type
        [PAGES[0], np.zeros((20, 30, 3), np.uint8)],  # colour
    ],
)
def test_pages_that_differ_are_refused(pages: list[np.ndarray], tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", *pages, metadata=None)
    with pytest.raises(InputError, match=r"2 series .*a\.tif:0, out of 0: .*, 1: "):
        open_volume(path)
    assert np.array_equal(open_volume(f"{path}:0").read(), pages[0])


def test_pages_that_the_metadata_do_not_tell_of(tmp_path: Path) -> None:
    text = "ImageJ=1.53c\nimages=3\nslices=3\n"
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(PAGES[:3], metadata=None, description=text, photometric="minisblack")
        tif.write(PAGES[3:], metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match="6 pages came, but its metadata tell of 3"):
        open_volume(path)


def test_small_copies_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(PAGES[0], metadata=None)
        tif.write(PAGES[1, ::3, ::4], metadata=None, subfiletype=1)
    assert np.array_equal(open_volume(path).read(), PAGES[0])


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"compression": "zlib"}, {"truncate": True}])
def test_stacks_are_read_whole(options: dict, tmp_path: Path) -> None:
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", PAGES, metadata=metadata, photometric="minisblack", **options)
    assert np.array_equal(open_volume(tmp_path / "a.tif").read(), PAGES)


def test_files_elsewhere_that_metadata_name_are_not_opened(tmp_path: Path) -> None:
    """As of a file that somebody has sent to a server."""
    (tmp_path / "mine").mkdir()
    for path in (tmp_path / "other.ome.tif", tmp_path / "mine" / "other.ome.tif"):
        tifffile.imwrite(path, PAGES[:1], ome=True, photometric="minisblack")
    for name in ("other.ome.tif", "../other.ome.tif", f"{tmp_path}/other.ome.tif"):
        text = f"""<?xml version="1.0" encoding="UTF-8"?>
            <OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">
            <Image ID="Image:0">
            <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{PAGES.dtype}" SizeX="{PAGES.shape[2]}"
            SizeY="{PAGES.shape[1]}" SizeZ="2" SizeC="1" SizeT="1">
            <TiffData FirstZ="0" IFD="0"><UUID FileName="a.ome.tif">urn:uuid:0</UUID></TiffData>
            <TiffData FirstZ="1" IFD="0"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>
            </Pixels></Image></OME>"""
        path = tmp_path / "mine" / "a.ome.tif"
        tifffile.imwrite(path, PAGES[1:2], description=text, metadata=None, photometric="minisblack")
        if name == "other.ome.tif":
            np.testing.assert_array_equal(open_volume(path).read(), PAGES[[1, 0]])
            continue
        with pytest.raises(InputError, match="a file in another folder"):
            open_volume(path)
