"""Windows cover everything, end with the data, and give back what was cut into them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.inference.block_loop import Threads, predict_blocks, predict_windows
from shallow2deep.inference.predictor import ArraySink, ArraySource
from shallow2deep.inference.windows import Overlap, Windows
from shallow2deep.outputs import Output


@st.composite
def some_windows(draw: st.DrawFn) -> Windows:
    """One to four axes; three are usual."""
    ndim = draw(st.integers(1, 4))
    shape = [draw(st.integers(1, 14 if ndim < 4 else 6)) for _ in range(ndim)]
    size = [draw(st.integers(1, n)) for n in shape]
    step = [draw(st.integers(1, n)) for n in size]
    border = [draw(st.integers(0, (n - 1) // 2)) for n in size]
    weight = draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
    return Windows(tuple(shape), tuple(size), tuple(step), tuple(border), weight)


@given(some_windows())
def test_every_pixel_is_covered_and_the_last_window_ends_with_the_data(windows: Windows) -> None:
    counts, found = np.zeros(windows.shape, int), list(windows)
    for window in found:
        counts[window] += 1
    assert counts.min() >= 1
    assert counts.sum() == pytest.approx(windows.duplication * counts.size)
    assert len(found) == len(windows) == len(set(map(str, found)))
    assert [(s.start, s.stop) for s in found[-1]] == [
        (n - size, n) for n, size in zip(windows.shape, windows.size, strict=True)
    ]
    for starts, step in zip(windows.starts, windows.step, strict=True):
        gaps = np.diff(starts)
        assert (gaps[:-1] == step).all()  # but for the last, which steps back
        assert (gaps[-1:] <= step).all()


@given(some_windows(), st.sampled_from([(), (2,), (1, 2)]), st.sampled_from(["f4", "f8", "u1", "i8"]))
def test_what_is_split_is_stitched_again(windows: Windows, before: tuple[int, ...], kind: str) -> None:
    image = (np.random.default_rng(0).random((*before, *windows.shape)) * 200).astype(kind)
    parts = windows.split(image)
    assert parts.shape == (len(windows), *before, *windows.size)
    assert parts.dtype == kind
    back = windows.stitch(parts)
    assert back.dtype == (np.float32 if kind in ("f4", "u1") else np.float64)
    np.testing.assert_allclose(back, image, rtol=1e-6)


@given(some_windows())
def test_stitched_is_the_weighted_mean(windows: Windows) -> None:
    parts = np.random.default_rng(0).random((len(windows), 2, *windows.size))
    weight = np.full(windows.size, max(windows.border_weight, 1e-8))
    weight[tuple(slice(b, n - b) for b, n in zip(windows.border, windows.size, strict=True))] = 1
    sums, norm = np.zeros((2, *windows.shape)), np.zeros(windows.shape)
    for part, window in zip(parts, windows, strict=True):
        sums[(slice(None), *window)] += part * weight
        norm[window] += weight
    np.testing.assert_allclose(windows.stitch(parts), sums / norm, rtol=1e-5, atol=1e-7)
    everything = tuple(slice(0, n) for n in windows.shape)
    np.testing.assert_allclose(windows.total(everything), norm, rtol=1e-5, atol=1e-7)


def test_what_weighs_nothing_counts_where_there_is_nothing_else() -> None:
    windows = Windows((8,), (4,), (2,), (1,), 0.0)
    parts = np.zeros((3, 4))
    parts[:, [0, 3]] = 7  # the borders
    np.testing.assert_allclose(windows.stitch(parts), [7, 0, 0, 0, 0, 0, 0, 7], atol=1e-6)
    plain = Windows((8,), (4,), (2,), (1,), 1.0)
    np.testing.assert_allclose(plain.stitch(parts), [7, 0, 3.5, 3.5, 3.5, 3.5, 0, 7])


def test_large_images_are_stitched_from_one_window_after_the_other(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((2, 9, 40, 30)).astype("f4")
    stored = zarr.create_array(str(tmp_path / "raw.zarr"), data=image, chunks=(1, 4, 16, 16))
    out = zarr.create_array(
        str(tmp_path / "out.zarr"), shape=image.shape, chunks=(2, 4, 16, 16), dtype="f4", fill_value=0
    )
    windows = Windows(image.shape[1:], (4, 16, 16), (3, 10, 10), (0, 2, 2))
    assert windows.stitch((stored[(..., *window)] for window in windows), out) is out
    np.testing.assert_allclose(out[:], image, rtol=1e-6)
    np.testing.assert_array_equal(windows.split(stored), windows.split(image))


def test_training_windows_have_labels_within_their_border() -> None:
    image = np.random.default_rng(0).random((3, 40, 40))
    labels = np.full((40, 40), -1)
    labels[9, 9] = 0  # within the second window of both axes, and in the border of the others
    windows = Windows((40, 40), (16, 16), (8, 8), (2, 2))
    found = windows.labelled(image, labels, unlabelled=-1)
    expected = [w[0].start + 2 <= 9 < w[0].stop - 2 and w[1].start + 2 <= 9 < w[1].stop - 2 for w in windows]
    assert found.kept.tolist() == expected
    assert 0 < len(found) == sum(expected) < len(windows) == 16
    for part, truth, window in zip(
        found.images, found.labels, np.array(list(windows))[found.kept], strict=True
    ):
        np.testing.assert_array_equal(part, image[(..., *window)])
        inner = (slice(2, -2), slice(2, -2))
        np.testing.assert_array_equal(truth[inner], labels[tuple(window)][inner])
        assert (truth == -1).sum() == 255
    assert str(found) == f"{len(found)} of 16 windows have labels; a pixel lies in 2.56 windows on average"
    nothing = windows.labelled(image, np.zeros((40, 40), int))
    assert nothing.images.shape == (0, 3, 16, 16)


@given(some_windows(), st.integers(0, 3))
def test_no_label_within_a_border_is_lost(windows: Windows, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, windows.shape) * (rng.random(windows.shape) < 0.1)
    found = windows.labelled(labels, labels)
    everywhere = windows.observed(windows.split(labels))
    np.testing.assert_array_equal(found.labels, everywhere[found.kept])
    assert not everywhere[~found.kept].any()
    assert all(truth.any() for truth in found.labels)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((8, 8), (9, 8), (4, 4)), "windows of (9, 8) pixels came for an image of (8, 8)"),
        (((8, 8), (4, 4), (5, 4)), "a step of (5, 4) pixels came for windows of (4, 4)"),
        (((8, 8), (4, 4), (0, 4)), "a step of (0, 4)"),
        (((8, 8), (4, 4), (4, 4), (2, 0)), "a border of (2, 0) pixels came for windows of (4, 4)"),
        (((8, 8), (4, 4), (4, 4), (1, 1), 1.5), "a weight of borders of 1.5 came; give one from 0 to 1"),
        (((8, 8), (4, 4), (4,)), "shape, size, step and border of windows have [2, 2, 1, 2] axes"),
        (((), (), ()), "give as many for each, 1 or more"),
        (((8,), (0,), (0,)), "a step of (0,)"),
    ],
)
def test_windows_that_cannot_be_are_refused(arguments: tuple, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        Windows(*arguments)
    assert sentence in str(refused.value)


def test_data_that_do_not_fit_are_refused() -> None:
    windows = Windows((8,), (4,), (2,))
    with pytest.raises(InputError, match="an image of shape"):
        windows.split(np.zeros(9))
    with pytest.raises(InputError, match="2 windows came where there are 3"):
        windows.stitch(np.zeros((2, 4)))
    with pytest.raises(InputError, match="more than 3 windows came"):
        windows.stitch(np.zeros((4, 4)))
    with pytest.raises(InputError, match="a window of shape"):
        windows.stitch(np.zeros((3, 5)))
    with pytest.raises(InputError, match="out of shape"):
        windows.stitch(np.zeros((3, 4)), np.zeros(9))


@dataclass(frozen=True)
class Edges:
    """The image, but for the pixels along a window's border, which become 1."""

    step: tuple[int, ...]
    border: Literal["clip", "mirror"] = "mirror"
    outputs = (Output("same"), Output("opposite"))

    @property
    def halo(self) -> tuple[int, ...]:
        return (5,) * len(self.step)

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        assert all(n % step == 0 for n, step in zip(block.shape, self.step, strict=True))
        edges = np.pad(block[(slice(1, -1),) * block.ndim], 1, constant_values=1).astype(np.float32)
        return np.stack([edges, 1 - edges])[(slice(None), *inner)]


@pytest.mark.parametrize(
    ("shape", "step"), [((61, 47), (1, 1)), ((61, 47), (4, 2)), ((13, 30, 41), (2, 4, 4))]
)
def test_overlapping_windows_are_predicted_and_averaged(
    shape: tuple[int, ...], step: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).random(shape).astype("f4")
    overlap, predictor = Overlap(6, 0.25), Edges(step)
    found = []
    for threads in (1, 4):
        sink = ArraySink(shape)
        size = (12,) * len(shape)
        predict_windows(predictor, ArraySource(image), sink, size, overlap, Threads(threads))
        found.append(sink.array)
    np.testing.assert_array_equal(*found)  # to the bit, whatever comes first
    windows = overlap.windows(shape, [n + -n % s for n, s in zip(size, step, strict=True)])
    assert len(windows) > 8
    inner = (slice(0, 100),) * len(shape)
    expected = windows.stitch(predictor(part, inner) for part in windows.split(image))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_borders_without_weight_hide_what_is_wrong_there() -> None:
    image = np.random.default_rng(0).random((40, 40)).astype("f4")
    sink = ArraySink(image.shape)
    predict_blocks(Edges((1, 1)), ArraySource(image), sink, (16, 16), overlap=Overlap(4, 0))
    np.testing.assert_allclose(sink.array[0, 2:-2, 2:-2], image[2:-2, 2:-2], atol=1e-5)
    assert (sink.array[0, 0] > 0.99999).all()


def test_an_image_smaller_than_a_window_is_one_window() -> None:
    image = np.random.default_rng(0).random((5, 7)).astype("f4")
    sink = ArraySink(image.shape)
    predict_windows(Edges((4, 4)), ArraySource(image), sink, (16, 16), Overlap(15))
    np.testing.assert_allclose(sink.array[0, 1:, 1:], image[1:, 1:], atol=1e-6)


def test_windows_that_only_overlap_are_refused() -> None:
    with pytest.raises(InputError, match=r"an overlap of 16 pixels came for windows of \(16, 16\)"):
        predict_windows(
            Edges((4, 4)), ArraySource(np.zeros((5, 7))), ArraySink((5, 7)), (14, 14), Overlap(16)
        )
