"""Steps on blocks give what the whole image at once gives, and the same bytes in any workplace."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import as_trained

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest
from shallow2deep.inference import forest_maps
from shallow2deep.inference.derived import Resized
from shallow2deep.inference.enhance import Enhancer, _resized
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inference.forest_maps import ForestPredictor, forest_map_on_disk, predict_probabilities
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import NetworkPredictor, predict_raw
from shallow2deep.inference.plans import Plan, enhanced_steps, forest_steps, mixed_steps, raw_steps
from shallow2deep.inference.predictor import ArraySource
from shallow2deep.inference.runners import Dask, Processes, Threads, Workplace
from shallow2deep.inference.steps import Desk, carry_out, copied
from shallow2deep.io.block_store import StoredArray, Unfinished
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import BOUNDARY, Output, of_forest
from shallow2deep.settings import EnhancedSettings
from shallow2deep.training.from_strokes import train_forest

SHAPE = (70, 93)
ROLES = (Output(None), Output(None, BOUNDARY))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest_maps, "BLOCK", {2: 32, 3: 16})


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


@pytest.fixture(scope="module")
def forest(raw: np.ndarray) -> Forest:
    strokes = np.zeros(raw.shape, np.uint8)
    strokes[5:8], strokes[20:23], strokes[40:42] = 1, 2, 3
    return train_forest(raw, strokes, FeatureSpec.ilastik((0.7, 1.6), 2), n_trees=3)


def network(kind: str, outputs: tuple[Output, ...], channels: int) -> torch.nn.Module:
    torch.manual_seed(channels)
    spec = ModelSpec(kind, outputs, 4, ((2, 2), (2, 2)), (1, 1), in_channels=channels)
    return as_trained(spec.build())


@pytest.fixture(scope="module")
def enhancers() -> Enhancers:
    """With a companion, at two scales; the second class keeps the forest's map."""
    options = EnhancedSettings(block=(24, 24), scales=(0.7, 1.4))
    one = Enhancer(
        network("enhancer", ROLES, 1),
        ROLES,
        options,
        kept=frozenset({2}),
        companion=network("companion", ROLES, 2),
    )
    return Enhancers((one,))


def made(plan: Plan, raw: np.ndarray, folder: Path, place: Workplace) -> tuple[np.ndarray, bytes]:
    """What a plan gives, and the bytes of all chunks that were written."""
    unfinished = Unfinished(folder / "p.zarr", {})
    steps, view = plan(ArraySource(raw), Moments.of(raw), Desk(unfinished.scratch))
    out = StoredArray(unfinished.scratch / "out", view.shape, (32, 32))
    out.create()
    carry_out([[step] for step in (*steps, copied("out", view, out, (32, 32)))], unfinished, place, None)
    files = sorted(p for p in unfinished.scratch.rglob("*") if p.is_file())
    return out.read((slice(None),) * 3), b"".join(file.read_bytes() for file in files)


def test_a_forest_gives_the_same_bits(forest: Forest, raw: np.ndarray, tmp_path: Path) -> None:
    found, _ = made(partial(forest_steps, ForestPredictor(forest)), raw, tmp_path, Threads(2))
    np.testing.assert_array_equal(found, predict_probabilities(forest, raw))


def test_an_enhancer_with_a_companion_at_several_scales(
    forest: Forest, enhancers: Enhancers, raw: np.ndarray, tmp_path: Path
) -> None:
    p = forest_map_on_disk(forest, raw)
    whole = np.asarray(enhancers.enhance_on_disk([p.channel(n) for n in range(3)], raw))
    plan = partial(enhanced_steps, partial(forest_steps, ForestPredictor(forest)), enhancers)
    found, _ = made(plan, raw, tmp_path, Threads(1))
    assert found.shape == (3, *SHAPE)
    assert np.std(whole[0]) > 1e-4
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_each_class_by_its_own_result(forest: Forest, raw: np.ndarray, tmp_path: Path) -> None:
    spec = ModelSpec("segmentor", (Output("b"),), 4, ((2, 2),), (1, 1))
    net = as_trained(spec.build())
    of_raw = partial(raw_steps, NetworkPredictor(net, spec.outputs), spec)
    of_the_forest = partial(forest_steps, ForestPredictor(forest))
    names = of_forest(("ground", "a", "b"))
    parts = {"a": (of_the_forest, names), "b": (of_raw, spec.outputs)}
    found, _ = made(partial(mixed_steps, parts), raw, tmp_path, Threads(2))
    expected = [predict_probabilities(forest, raw)[1], predict_raw(net, spec, raw)[0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 300)),
    scale=st.floats(0.1, 3),
    part=st.tuples(st.floats(0, 0.8), st.floats(0.1, 1)),
)
def test_windows_of_a_resized_map_are_as_of_the_whole(
    shape: tuple[int, int], scale: float, part: tuple[float, float]
) -> None:
    values = np.random.default_rng(0).random((2, *shape), np.float32)
    size = tuple(max(1, round(n * scale)) for n in shape)
    expected = np.asarray(_resized(values, size))
    window = tuple(slice(int(n * part[0]), int(n * part[0]) + max(1, int(n * part[1] * 0.2))) for n in size)
    found = Resized(ArraySource(values), size).read((slice(0, 2), *window))
    np.testing.assert_allclose(found, expected[(slice(0, 2), *window)], atol=1e-6)


def test_far_from_the_border_torch_rounds_and_so_do_windows() -> None:
    values = np.random.default_rng(0).random((1, 2, 30000), np.float32)
    found = Resized(ArraySource(values), (2, 21000)).read((slice(0, 1), slice(0, 2), slice(20000, 21000)))
    np.testing.assert_allclose(found, np.asarray(_resized(values, (2, 21000)))[..., 20000:], atol=1e-6)


@pytest.mark.parametrize(
    "place", [Threads(2), Processes(2), Dask("local:2")], ids=lambda place: type(place).__name__
)
def test_all_workplaces_give_the_same_bytes(
    place: Workplace, forest: Forest, enhancers: Enhancers, raw: np.ndarray, tmp_path: Path
) -> None:
    if isinstance(place, Dask):
        pytest.importorskip("distributed", reason="the extra dask")
    plan = partial(enhanced_steps, partial(forest_steps, ForestPredictor(forest)), enhancers)
    _, direct = made(plan, raw, tmp_path / "direct", Threads(1))
    _, found = made(plan, raw, tmp_path / "there", place)
    assert found == direct


def test_blocks_that_share_a_chunk_are_refused(tmp_path: Path) -> None:
    array = StoredArray(tmp_path / "a", (1, 64, 64), (32, 32))
    array.create()
    array.write((slice(32, 64), slice(0, 32)), np.ones((1, 32, 32), np.float32))
    for window in ((slice(0, 16), slice(0, 32)), (slice(16, 64), slice(0, 32))):
        shape = (1, *(s.stop - s.start for s in window))
        with pytest.raises(InputError, match="multiples of chunks"):
            array.write(window, np.ones(shape, np.float32))
    assert array.read((slice(None),) * 3).sum() == 32 * 32
