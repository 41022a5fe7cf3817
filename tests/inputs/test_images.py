"""Raw images: their planes, and names for what is made of them."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import Data

from shallow2deep.errors import InputError
from shallow2deep.inputs.images import new_name, open_images, require_writable
from shallow2deep.settings import RawData, TargetData


def test_raw_without_planes_has_none_to_choose_from(data: Data) -> None:
    with pytest.raises(InputError, match="no planes to choose slices"):
        open_images(RawData(raw=f"{data.folder}/source*_raw.png", slices="1,3"), 2)


def test_names_of_results_differ(tmp_path: Path) -> None:
    for folder, name in (("x", "a"), ("y", "a"), ("z", "a_2")):
        (tmp_path / folder).mkdir()
        iio.imwrite(tmp_path / folder / f"{name}.png", np.zeros((8, 8), np.uint8))
    raw = [str(p) for p in sorted(tmp_path.glob("*/*.png"))]
    names = [image.name for image in open_images(TargetData(raw=raw, strokes=("x",)), 2)]
    assert len(set(names)) == 3


@pytest.mark.parametrize("channels", ["grey", "each"])
def test_colour_that_becomes_grey_is_told_once(
    channels: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shallow2deep")
    for n in range(3):
        iio.imwrite(tmp_path / f"{n}.png", np.full((8, 8, 3), n, np.uint8))
    open_images(RawData(raw=str(tmp_path)), 2, channels)
    assert len(caplog.records) == (channels == "grey")
    if channels == "grey":
        assert "0.png and 2 more are in colour" in caplog.text
        assert "target.channels: each" in caplog.text


def test_long_names_are_shortened_so_that_results_can_be_written(tmp_path: Path) -> None:
    names: set[str] = set()
    found = [new_name(stem, names) for stem in ("x" * 240 + "a", "x" * 240 + "b", "ü" * 120 + "c", "short")]
    assert all(len(name.encode()) <= 150 for name in found)
    assert len(set(found)) == 4
    assert found[3] == "short"
    assert found[0] == new_name("x" * 240 + "a", set())


@pytest.mark.parametrize("way", ["file", "below a file"])
def test_where_nothing_can_be_written_is_refused(way: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" if way == "file" else tmp_path / "file" / "inner"
    with pytest.raises(InputError, match="is a file, where a folder is to be"):
        require_writable([folder / "map.h5"])
    require_writable([tmp_path / "new" / "inner" / "map.h5"])
