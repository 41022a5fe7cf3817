"""The picture panel."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from shallow2deep.evaluation.pictures import save_panel, show


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


def test_a_picture_for_notebooks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw, p = rng.random((3, 20, 30)), rng.random((2, 20, 30))
    picture = show(raw, (raw[0] > 0.9).astype(np.uint8), p)
    assert picture._repr_png_().startswith(b"\x89PNG")
    picture.save(tmp_path / "a.png")
    assert iio.imread(tmp_path / "a.png").shape[1] > iio.imread(show(raw[0])._repr_png_()).shape[1]
