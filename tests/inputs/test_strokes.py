"""Strokes: whole numbers with a class each, or one sentence that says what is wrong."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny import Data

from shallow2deep.errors import InputError
from shallow2deep.inputs.strokes import Strokes, open_strokes
from shallow2deep.io.volumes import open_volume, open_volumes
from shallow2deep.settings import TargetData

CLASSES = ("background", "nuclei")


def stored(folder: Path, *arrays: np.ndarray) -> tuple[str, ...]:
    folder.mkdir(exist_ok=True)
    for n, array in enumerate(arrays):
        np.save(folder / f"{n}.npy", array)
    return tuple(str(folder / f"{n}.npy") for n in range(len(arrays)))


def opened(folder: Path, mapping: dict[int, int], *arrays: np.ndarray) -> list[Strokes]:
    """Those of one raw image of 10 x 12 pixels."""
    (raw,) = stored(folder / "raw", np.zeros((10, 12)))
    given = stored(folder / "strokes", *arrays)
    data = TargetData(raw=(raw,), strokes=given, stroke_classes=mapping)
    return open_strokes(data, 2, CLASSES, [open_volume(raw)])


def strokes(*rows: tuple[int, int]) -> np.ndarray:
    out = np.zeros((10, 12), np.uint8)
    for row, value in rows:
        out[row, 2:8] = value
    return out


def test_values_are_mapped_to_classes(tmp_path: Path) -> None:
    (drawn,) = opened(tmp_path, {3: 1, 7: 2}, strokes((1, 7), (5, 3)))
    found = drawn.read()
    assert (found[1, 2:8] == 2).all()
    assert (found[5, 2:8] == 1).all()
    assert np.count_nonzero(found) == 12
    assert drawn.counts == {1: 6, 2: 6}


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
    with pytest.raises(InputError, match=word):
        opened(tmp_path, mapping, *arrays)


def test_strokes_are_matched_by_name(data: Data) -> None:
    raws = open_volumes(f"{data.folder}/target*_raw.png")
    some = tuple(f"{data.folder}/target{n}_strokes.png" for n in (3, 1))
    target = TargetData(raw=("x",), strokes=some)
    found = open_strokes(target, 2, ("background", "disc"), raws)
    assert [bool(one.counts) for one in found] == [False, True, False, True]
    assert [one.read().any() for one in found] == [False, True, False, True]
    assert np.array_equal(found[3].read(), iio.imread(some[0]))


def test_strokes_of_some_names(data: Data) -> None:
    """In whatever order they come, and also a single one."""
    raws = open_volumes([f"{data.folder}/target{n}_raw.png" for n in (2, 0, 1)])
    for numbers in ((0, 1, 2), (1,)):
        given = tuple(f"{data.folder}/target{n}_strokes.png" for n in numbers)
        found = open_strokes(TargetData(raw=("x",), strokes=given), 2, ("background", "disc"), raws)
        for n, one in zip((2, 0, 1), found, strict=True):
            drawn = iio.imread(f"{data.folder}/target{n}_strokes.png")
            assert np.array_equal(one.read(), drawn if n in numbers else np.zeros_like(drawn))


def test_strokes_with_a_palette_are_its_numbers(tmp_path: Path) -> None:
    drawn = strokes((1, 1), (5, 2))
    image = Image.fromarray(drawn)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    image.save(tmp_path / "a.png")
    alpha = np.full_like(drawn, 255)
    Image.fromarray(np.stack([drawn, alpha], -1), "LA").save(tmp_path / "b.png")
    (raw,) = stored(tmp_path / "raw", np.zeros((10, 12)))
    for name in ("a.png", "b.png"):
        data = TargetData(raw=(raw,), strokes=(str(tmp_path / name),))
        (found,) = open_strokes(data, 2, CLASSES, [open_volume(raw)])
        assert np.array_equal(found.read(), drawn)


def test_strokes_of_some_images_of_ome_tiff(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.zeros((10, 12), np.uint8))
    tifffile.imwrite(tmp_path / "c_strokes.tif", strokes((1, 1), (5, 2)))
    tifffile.imwrite(tmp_path / "a_strokes.ome.tif", strokes((2, 1), (6, 2)))
    given = (str(tmp_path / "c_strokes.tif"), str(tmp_path / "a_strokes.ome.tif"))
    raws = open_volumes([tmp_path / f"{name}.ome.tif" for name in ("a", "b", "c")])
    found = open_strokes(TargetData(raw=("x",), strokes=given), 2, CLASSES, raws)
    assert [
        [int(np.flatnonzero(rows.any(1))[0]) for rows in [one.read()] if rows.any()] for one in found
    ] == [
        [2],
        [],
        [1],
    ]


def test_a_background_that_was_never_drawn_is_refused(tmp_path: Path) -> None:
    drawn = np.zeros((20, 20), np.uint8)
    drawn[2, 2:8], drawn[9, 2:8] = 2, 3
    for name, values in (("a_raw", drawn * 9), ("a_strokes", drawn)):
        iio.imwrite(tmp_path / f"{name}.png", values)
    data = TargetData(raw=(f"{tmp_path}/a_raw.png",), strokes=(f"{tmp_path}/a_strokes.png",))
    raws = open_volumes(data.raw)
    with pytest.raises(InputError, match="nothing is drawn of ground, the first class"):
        open_strokes(data, 2, ("ground", "one", "two"), raws)


def test_values_beyond_the_classes_name_the_line_to_add(tmp_path: Path) -> None:
    drawn = np.zeros((20, 20), np.uint8)
    drawn[2, 2:8], drawn[9, 2:8], drawn[15, 2:8] = 1, 2, 3
    iio.imwrite(tmp_path / "a_raw.png", drawn * 9)
    iio.imwrite(tmp_path / "a_strokes.png", drawn)
    data = TargetData(raw=(f"{tmp_path}/a_raw.png",), strokes=(f"{tmp_path}/a_strokes.png",))
    with pytest.raises(InputError, match=r"3 have no class.*classes: \[ground, cell, class 3\]"):
        open_strokes(data, 2, ("ground", "cell"), open_volumes(data.raw))


def test_strokes_on_one_of_several_volumes_whose_planes_are_images(tmp_path: Path) -> None:
    """They are found by name; the planes of the others have none."""
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 20, 30), np.uint8))
    strokes = np.zeros((3, 20, 30), np.uint8)
    strokes[1, 4, :9], strokes[2, 5, :7] = 1, 2
    for name in ("b", "c"):
        np.save(tmp_path / f"{name}_strokes.npy", strokes)
    data = TargetData(raw=(f"{tmp_path}/?.npy",), strokes=(f"{tmp_path}/*_strokes.npy",))
    raws = [plane for volume in open_volumes(data.raw) for plane in volume.planes()]
    found = open_strokes(data, 2, ("background", "foreground"), raws)
    assert [one.counts for one in found] == [{}, {}, {}, *[{}, {1: 9}, {2: 7}] * 2]
