"""The block loop gives what the whole image at once gives, for any predictor, source, sink and runner."""

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.inference.block_loop import Runner, Threads, one_by_one, predict_blocks
from shallow2deep.inference.enhance import Enhancer
from shallow2deep.inference.forest_maps import ForestPredictor, predict_probabilities
from shallow2deep.inference.network_maps import NetworkPredictor, predict_with_network
from shallow2deep.inference.predictor import ArraySink, ArraySource, Predictor
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.progress import Bar
from shallow2deep.training.from_strokes import train_forest


@dataclass(frozen=True)
class Mean:
    """The mean of a neighbourhood that differs per axis, and the image itself."""

    halo: tuple[int, ...]
    border: Literal["clip", "mirror"]
    step: tuple[int, ...]
    outputs: Sequence[Output] = (Output("mean"), Output("same"))

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        if self.border == "mirror":
            sizes = zip(block.shape, self.halo, self.step, strict=True)
            assert all((n - 2 * halo) % step == 0 for n, halo, step in sizes)
        mean = ndi.uniform_filter(block, [2 * h + 1 for h in self.halo], mode="mirror")
        return np.stack([mean, block])[(slice(None), *inner)]


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(9, 30), min_size=2, max_size=3),
    halo=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    step=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    block=st.lists(st.integers(1, 12), min_size=3, max_size=3),
    border=st.sampled_from(["clip", "mirror"]),
    threads=st.integers(1, 3),
)
def test_blocks_are_as_the_whole_image(
    shape: list[int], halo: list[int], step: list[int], block: list[int], border: str, threads: int
) -> None:
    ndim = len(shape)
    image = np.random.default_rng(0).random(shape)
    predictor = Mean(tuple(halo[:ndim]), border, tuple(step[:ndim]))  # type: ignore[arg-type]
    sink = ArraySink(shape)
    predict_blocks(predictor, ArraySource(image), sink, block[:ndim], Threads(threads))
    expected = ndi.uniform_filter(image, [2 * h + 1 for h in predictor.halo], mode="mirror")
    np.testing.assert_allclose(sink.array[0], expected, atol=1e-6)
    np.testing.assert_array_equal(sink.array[1], image.astype(np.float32))


class Told(Bar):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, int, int]] = []

    def progress(self, what: str, done: int, total: int, **values: float) -> None:
        self.heard.append((what, done, total))


@pytest.mark.parametrize("runner", [one_by_one, Threads(3)])
def test_blocks_are_counted_in_order_where_there_are_many(runner: Runner) -> None:
    image = np.zeros((50, 50))
    for side, heard in ((10, [("things", n, 25) for n in range(1, 26)]), (25, [])):
        watch = Told()
        source, sink = ArraySource(image), ArraySink(image.shape)
        predictor = Mean((1, 1), "clip", (1, 1))
        predict_blocks(predictor, source, sink, (side, side), runner, watch=watch, what="things")
        assert watch.heard == heard


def test_an_outer_bar_makes_room_for_an_inner_one(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    for what, done, total in (("images", 0, 1), ("blocks", 1, 2), ("blocks", 2, 2), ("images", 1, 1)):
        bar.progress(what, done, total)
    left = [line.rsplit("\r", 1)[-1] for line in capsys.readouterr().err.split("\n")]
    assert [line.split(":")[0] for line in left if line.strip()] == ["blocks", "images"]


def test_mirrored_as_numpy_does_also_beyond_several_borders() -> None:
    image = np.arange(5.0)
    seen = []

    class Look(Mean):
        def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
            seen.append(block)
            return block[None][(slice(None), *inner)]

    predict_blocks(Look((13,), "mirror", (2,)), ArraySource(image), ArraySink((5,)), (8,))
    np.testing.assert_array_equal(seen[0], np.pad(image, (13, 14), mode="reflect"))


def test_each_pixel_of_the_source_is_read_once_without_a_halo(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    np.save(tmp_path / "raw.npy", image)
    volume, counts = open_volume(tmp_path / "raw.npy"), np.zeros(image.shape, int)

    class Counting:
        shape = volume.shape

        def read(self, window: Window) -> np.ndarray:
            counts[window] += 1
            return volume.read(window)

    sink = ArraySink(image.shape)
    predict_blocks(Mean((0, 0), "clip", (1, 1)), Counting(), sink, (7, 8))
    assert (counts == 1).all()
    np.testing.assert_array_equal(sink.array[1], image)


def test_blocks_that_are_not_wanted_are_not_predicted() -> None:
    windows = []

    class Notes:
        def write(self, window: Window, values: np.ndarray) -> None:
            windows.append(window)

    image = np.zeros((4, 8))
    predict_blocks(
        Mean((0, 0), "clip", (1, 1)), ArraySource(image), Notes(), (4, 4), wanted=lambda w: w[1].start == 4
    )
    assert windows == [(slice(0, 4), slice(4, 8))]


def test_threads_work_at_the_same_time() -> None:
    barrier = threading.Barrier(2, timeout=10)
    Threads(2)(lambda block: barrier.wait() and None, [None, None])  # type: ignore[arg-type, func-returns-value]
    with pytest.raises(InputError, match="give 1 or more"):
        Threads(0)


def test_an_error_in_a_block_is_not_swallowed() -> None:
    def fail(block: object) -> None:
        raise RuntimeError("in a block")

    for runner in (one_by_one, Threads(2)):
        with pytest.raises(RuntimeError, match="in a block"):
            runner(fail, [None])  # type: ignore[list-item]


def _forest_and_raw() -> tuple[ForestPredictor, np.ndarray]:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 255, (40, 50)).astype(np.uint8)
    strokes = np.zeros(raw.shape, np.uint8)
    strokes[5:8], strokes[20:23] = 1, 2
    forest = train_forest(raw, strokes, FeatureSpec.ilastik((0.7, 1.6), 2), n_trees=3)
    return ForestPredictor(forest), raw


def test_forest_enhancer_and_segmentor_are_predictors_that_can_be_sent_elsewhere() -> None:
    forest, raw = _forest_and_raw()
    spec = ModelSpec("segmentor", (Output("disc"),), 4, ((2, 2),), (1, 1), normalisation=(100, 20))
    network = spec.build().eval()
    roles = (Output(None), Output(None, BOUNDARY))
    enhancer = Enhancer(ModelSpec("enhancer", roles, 4, ((2, 2),), (1, 1)).build().eval(), roles)
    segmentor = NetworkPredictor(network, spec.outputs)
    for predictor in (forest, enhancer.predictor, segmentor):
        assert isinstance(predictor, Predictor)
        predictor(raw[:24, :24].astype(np.float32), (slice(0, 24), slice(0, 24)))  # with what it keeps
        other = pickle.loads(pickle.dumps(predictor))
        results = []
        for one in (predictor, other):
            sink = ArraySink(raw.shape)
            predict_blocks(one, ArraySource(raw), sink, (16, 16))
            results.append(sink.array)
        assert len(results[0]) == len(predictor.outputs)
        np.testing.assert_array_equal(*results)


def test_a_forest_is_applied_by_the_loop_as_by_itself() -> None:
    forest, raw = _forest_and_raw()
    sink = ArraySink(raw.shape)
    predict_blocks(forest, ArraySource(raw), sink, (13, 9), Threads(2))
    np.testing.assert_array_equal(sink.array, predict_probabilities(forest.forest, raw))
    assert [output.role for output in forest.outputs] == ["background", "foreground"]


@pytest.mark.parametrize("shape", [(33, 47), (3, 5), (1, 1)])
def test_a_network_is_applied_by_blocks_as_to_the_whole_image(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = ModelSpec("enhancer", (Output(None),), 4, ((2, 2), (2, 2)), (1, 1)).build().eval()
    image = np.random.default_rng(0).random((1, *shape), np.float32)
    whole = predict_with_network(network, image, (64, 64))
    np.testing.assert_allclose(predict_with_network(network, image, (8, 12)), whole, atol=1e-5)


def test_a_network_of_three_dimensions_with_strides_of_its_own_per_axis() -> None:
    torch.manual_seed(0)
    spec = ModelSpec("segmentor", (Output("disc"),), 4, ((1, 2, 2), (2, 2, 2)), (1, 1, 1))
    assert (spec.ndim, spec.step) == (3, (2, 4, 4))
    network = spec.build().eval()
    halo = network.halo
    assert halo[0] < halo[1] == halo[2]
    image = np.random.default_rng(0).random((1, 6, 20, 24), np.float32)
    whole = predict_with_network(network, image, (32, 32, 32))
    assert whole.shape == (1, 6, 20, 24)
    np.testing.assert_allclose(predict_with_network(network, image, (4, 8, 12)), whole, atol=1e-5)
