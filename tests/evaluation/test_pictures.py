"""The picture panel."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from shallow2deep.evaluation.pictures import INSTANCES, OUTLINES, save_panel, show


def test_panel_shows_every_picture_and_is_the_same_each_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    strokes = np.zeros((40, 60), np.uint8)
    strokes[10:14, 5:30], strokes[30:33, 20:50] = 1, 2
    full = {"raw": rng.integers(0, 255, (40, 60)), "strokes": strokes, "forest": rng.random((40, 60))}
    rows = [full, {"raw": full["raw"], "forest": full["forest"]}]
    first, second = (save_panel(tmp_path / name, rows, ["painted", "test"]) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    picture = iio.imread(first)
    colours = {tuple(int(v) for v in c) for c in picture[..., :3].reshape(-1, 3)}
    assert {(255, 176, 0), (0, 160, 255)} <= colours


def test_maps_and_outlines_have_the_colours_of_their_classes(tmp_path: Path) -> None:
    p = np.zeros((2, 40, 60), np.float32)
    p[0, 5:20, 5:20], p[1, 20:35, 30:50] = 1, 1
    full = {"raw": np.zeros((40, 60)), OUTLINES: p, "forest": p}
    picture = iio.imread(save_panel(tmp_path / "a.png", [full, {"raw": full["raw"], "forest": p / 2}]))
    third = picture.shape[1] // 3
    blue, red, half = (0, 160, 255), (220, 38, 127), (110, 19, 63)
    for column, filled in ((0, False), (1, False), (2, True)):
        part = picture[:, column * third : (column + 1) * third, :3].reshape(-1, 3)
        counts = [(part == colour).all(1).sum() for colour in (blue, red, half)]
        assert all((n > 500) == filled for n in counts)
        assert column != 1 or (abs(part.astype(int) - red).sum(1) < 150).sum() > 50


def test_a_picture_for_notebooks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw, p = rng.random((3, 20, 30)), rng.random((2, 20, 30))
    picture = show(raw, (raw[0] > 0.9).astype(np.uint8), p)
    assert picture._repr_png_().startswith(b"\x89PNG")
    picture.save(tmp_path / "a.png")
    assert iio.imread(tmp_path / "a.png").shape[1] > iio.imread(show(raw[0])._repr_png_()).shape[1]


def test_objects_that_touch_have_outlines_of_their_own(tmp_path: Path) -> None:
    labels = np.zeros((60, 60), int)
    labels[10:50, 10:30], labels[10:50, 30:50] = 1, 2
    rows = [{"raw": np.zeros((60, 60)), INSTANCES: labels}]
    picture = iio.imread(save_panel(tmp_path / "a.png", rows))
    drawn = abs(picture[..., :3].astype(int) - (0, 160, 255)).sum(-1) < 150
    line = np.flatnonzero(drawn[picture.shape[0] // 2])
    assert 1 + np.count_nonzero(np.diff(line) > 1) == 4  # left, right, and two lines in between
