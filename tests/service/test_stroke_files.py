"""Strokes in memory and on disk."""

from pathlib import Path

import numpy as np
import pytest

from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume
from shallow2deep.service.stroke_files import TILE, Span, StrokeFile

SHAPE = (300, 530)


def some_spans(generator: np.random.Generator) -> list[Span]:
    """That overlap now and then, and cross borders of tiles and chunks."""
    found: list[Span] = []
    for _ in range(generator.integers(1, 6)):
        first, last = sorted(generator.choice(SHAPE[1] + 1, 2, replace=False).tolist())
        found.append((int(generator.integers(250, 260)), first, last, int(generator.integers(0, 4))))
    return found


def painted_by_numpy(image: np.ndarray, patch: list[Span]) -> np.ndarray:
    out = image.copy()
    for y, first, last, value in patch:
        out[y, first:last] = value
    return out


@pytest.mark.parametrize("seed", range(3))
def test_what_is_painted_is_on_disk_and_can_be_undone(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    file = StrokeFile(tmp_path / "a_strokes.zarr", SHAPE)
    states, undo = [np.zeros(SHAPE, np.uint8)], []
    for _ in range(3):
        patch = some_spans(generator)
        states.append(painted_by_numpy(states[-1], patch))
        undo.append(file.paint(0, patch))
    for expected, before in zip(reversed(states), [*reversed(undo), None], strict=True):
        np.testing.assert_array_equal(open_volume(file.path).read(), expected)
        for one in (file, StrokeFile(file.path, SHAPE)):
            np.testing.assert_array_equal(one.window(0, slice(0, SHAPE[0]), slice(0, SHAPE[1])), expected)
        if before is not None:
            file.paint(0, before)


def test_planes_of_a_volume_are_apart(tmp_path: Path) -> None:
    file = StrokeFile(tmp_path / "a_strokes.zarr", (40, 90, 300), (50.0, 5.0, 5.0))
    file.paint(39, [(89, 290, 300, 2)])
    file.paint(3, [(0, 0, 1, 1)])
    again = StrokeFile(file.path, file.shape)
    assert {place: tile.sum() for place, tile in again.painted()} == {(39, 0, 1): 20, (3, 0, 0): 1}
    assert again.counts(2) == [1, 10]
    volume = open_volume(file.path)
    assert volume.axes == "zyx" and volume.voxel_size == (50.0, 5.0, 5.0)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_an_overview_shows_the_largest_value(tmp_path: Path, level: int) -> None:
    file = StrokeFile(tmp_path / "a_strokes.zarr", (1000, 1400))
    generator = np.random.default_rng(0)
    for _ in range(30):
        y, x = (int(generator.integers(0, n - 30)) for n in file.size)
        file.paint(0, [(y, x, x + 30, int(generator.integers(1, 4)))])
    side, step = TILE << level, 2**level
    whole = np.zeros((2 * side, 2 * side), np.uint8)
    seen = file.window(0, slice(0, 1000), slice(0, 1400))[: 2 * side, : 2 * side]
    whole[: seen.shape[0], : seen.shape[1]] = seen
    for y, x in ((0, 0), (0, 1), (1, 1)):
        part = whole[y * side : (y + 1) * side, x * side : (x + 1) * side]
        expected = part.reshape(TILE, step, TILE, step).max((1, 3))
        np.testing.assert_array_equal(file.overview(0, level, y, x), expected)


@pytest.mark.parametrize("span", [(300, 0, 1, 1), (0, 0, 531, 1), (0, 5, 5, 1), (-1, 0, 1, 1)])
def test_nothing_is_painted_outside(tmp_path: Path, span: Span) -> None:
    file = StrokeFile(tmp_path / "a_strokes.zarr", SHAPE)
    with pytest.raises(InputError, match="paint within"):
        file.paint(0, [(0, 0, 9, 1), span])
    with pytest.raises(InputError, match="plane 1"):
        file.paint(1, [(0, 0, 9, 1)])
    assert not file.path.exists() and file.counts(1) == [0]


def test_strokes_of_another_image_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a_strokes.zarr"
    StrokeFile(path, SHAPE).paint(0, [(0, 0, 9, 1)])
    with pytest.raises(InputError, match="was the image replaced"):
        StrokeFile(path, (300, 300))
