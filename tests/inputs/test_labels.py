"""Labels of whatever program are read, or one sentence says what is wrong; never foreground in silence."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from shallow2deep.commands.evaluate import evaluate
from shallow2deep.errors import InputError
from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.labels import checked_labels, label_image
from shallow2deep.inputs.source import open_source
from shallow2deep.inputs.target import _open_labels
from shallow2deep.io.map_files import write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import of_foreground
from shallow2deep.settings import RawData, SourceData, TargetData

TRUTH = np.zeros((40, 30), np.uint8)
TRUTH[8:20, 5:20] = 1
RAW = (TRUTH * 90 + 20).astype(np.uint8)


def palette(path: Path, values: np.ndarray = TRUTH) -> None:
    image = Image.fromarray(values)
    image.putpalette([0, 0, 255, 255, 0, 0] + [0] * 762)
    image.save(path)


def usable(folder: Path) -> dict[str, Path]:
    """The same labels in all the ways in which programs write them."""
    alpha = np.full_like(TRUTH, 255)
    palette(folder / "palette.png")
    palette(folder / "palette.bmp")
    np.save(folder / "last.npy", TRUTH[..., None].astype(np.int32))
    np.save(folder / "first.npy", TRUTH[None].astype(np.int64))
    np.save(folder / "flags.npy", TRUTH > 0)
    iio.imwrite(folder / "colour.png", np.stack([TRUTH] * 3, -1))
    iio.imwrite(folder / "alpha.png", np.stack([TRUTH] * 3 + [alpha], -1))
    Image.fromarray(np.stack([TRUTH, alpha], -1), "LA").save(folder / "grey_alpha.png")
    return {path.name: path for path in sorted(folder.iterdir())}


def unusable(folder: Path) -> list[tuple[Path, str]]:
    """Labels that would be foreground everywhere, or somewhere else, and what is said."""
    made: list[tuple[str, np.ndarray, str]] = [
        ("largest64", np.where(TRUTH > 0, np.uint64(7), np.uint64(2**64 - 1)), "18446744073709551615 came"),
        ("largest32", np.where(TRUTH > 0, np.uint32(7), np.uint32(2**32 - 1)), "4294967295 came"),
        ("negative", np.where(TRUTH > 0, 5, -1), "labels from -1 to 5 came"),
        ("channels", np.stack([1 - TRUTH, TRUTH], -1)[None], "2 channels came, but labels have one"),
    ]
    out = []
    for name, values, word in made:
        np.save(folder / f"{name}.npy", values)
        out.append((folder / f"{name}.npy", word))
    iio.imwrite(folder / "colours.png", np.stack([TRUTH, 1 - TRUTH, TRUTH], -1))
    iio.imwrite(folder / "lossy.jpg", TRUTH * 255)
    return [
        *out,
        (folder / "colours.png", "colours came, but labels have one number per pixel"),
        (folder / "lossy.jpg", "JPEG changes values"),
    ]


def test_labels_in_every_way_are_the_same_everywhere(tmp_path: Path) -> None:
    raw, p = tmp_path / "raw.png", tmp_path / "p.h5"
    iio.imwrite(raw, RAW)
    write_probabilities(p, TRUTH[None].astype(np.float32), of_foreground(["x"]))
    images = open_images(TargetData(raw=(str(raw),), strokes=("x",)), 2)
    (tmp_path / "labels").mkdir()
    for name, path in usable(tmp_path / "labels").items():
        (pair,) = open_source(SourceData(raw=str(raw), labels=str(path)), 2, 2)
        assert np.array_equal(pair.classes(), TRUTH), name
        (labels,) = _open_labels(TargetData(raw=("x",), strokes=("x",), labels=str(path)), 2, images)
        assert np.array_equal(labels.read(), TRUTH), name
        scores = evaluate(RawData(raw=str(p)), RawData(raw=str(path)), RawData(raw=str(path)))
        assert scores["all"]["dice"] == 1, name


def test_labels_that_mean_something_else_are_refused_everywhere(tmp_path: Path) -> None:
    raw, p = tmp_path / "raw.png", tmp_path / "p.h5"
    iio.imwrite(raw, RAW)
    write_probabilities(p, TRUTH[None].astype(np.float32), of_foreground(["x"]))
    images = open_images(TargetData(raw=(str(raw),), strokes=("x",)), 2)
    for path, word in unusable(tmp_path):
        with pytest.raises(InputError, match=word):
            open_source(SourceData(raw=str(raw), labels=str(path)), 2, 2)
        with pytest.raises(InputError, match=word):
            data = TargetData(raw=("x",), strokes=("x",), labels=str(path))
            _open_labels(data, 2, images)[0].read()
        with pytest.raises(InputError, match=word):
            evaluate(RawData(raw=str(p)), RawData(raw=str(path)))


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (0.5, "fractions"), (np.inf, "infinity")])
def test_floats_that_are_no_labels(value: float, word: str, tmp_path: Path) -> None:
    values = TRUTH.astype(np.float32)
    values[0, 0] = value
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=f"whole numbers, but {word} came"):
        checked_labels(open_volume(tmp_path / "a.npy")).read()


def test_a_value_that_is_asked_for_may_stand_beside_any_other(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "p.h5", TRUTH[None].astype(np.float32), of_foreground(["x"]))
    np.save(tmp_path / "a.npy", np.where(TRUTH > 0, 7, -1))
    scores = evaluate(RawData(raw=f"{tmp_path}/p.h5"), RawData(raw=f"{tmp_path}/a.npy"), label_value=7)
    assert scores["all"]["dice"] == 1


def test_a_part_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([TRUTH] * 3 + [TRUTH * 2]).reshape(4, 40, 30, 1))
    volume = label_image(open_volume(tmp_path / "a.npy"))
    window = (slice(3, 4), slice(8, 12), slice(4, 9))
    assert np.array_equal(volume.crop(window).read(), TRUTH[None, 8:12, 4:9] * 2)
    assert np.array_equal(volume.planes()[3].read(), TRUTH * 2)
