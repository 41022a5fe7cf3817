"""Forests: equal to scikit-learn, the same bytes every time, and safe to load whatever the file holds."""

import io
import json
import math
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from shallow2deep.errors import DamagedFileError, FeatureMismatchError, InputError
from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import (
    Forest,
    SingleClassError,
    fit_forest,
    predict_features,
    predict_probabilities,
    train_forest,
)

SPEC = FeatureSpec.ilastik([0.7, 1.6])
CLASSES = ("background", "nucleus", "membrane")


def samples(n: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, SPEC.n_features)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=n) > 0).astype(int) + (classes > 2) * (x[:, 1] > 1)


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit_forest(*samples(500), SPEC, CLASSES, n_trees=7, seed=3)


@settings(max_examples=20)
@given(
    n=st.integers(4, 300),
    trees=st.integers(1, 12),
    depth=st.sampled_from([None, 1, 5]),
    random_thresholds=st.booleans(),
    pixels=st.integers(1, 2500),
    seed=st.integers(0, 1000),
)
def test_equal_to_scikit_learn(
    n: int, trees: int, depth: int | None, random_thresholds: bool, pixels: int, seed: int
) -> None:
    x, y = samples(n, seed)
    x, y[:2] = np.round(x, 1), (0, 1)  # ties with thresholds, and at least two classes
    options = {"n_estimators": trees, "max_depth": depth, "random_state": seed}
    peer = ExtraTreesClassifier if random_thresholds else RandomForestClassifier
    expected = peer(**options).fit(x, y)
    ours = fit_forest(
        x, y, SPEC, CLASSES, n_trees=trees, max_depth=depth, random_thresholds=random_thresholds, seed=seed
    )
    test = np.round(samples(pixels, seed + 1)[0], 1)
    p = predict_features(ours, test.T.reshape(SPEC.n_features, pixels))
    np.testing.assert_allclose(p[expected.classes_].T, expected.predict_proba(test), atol=1e-6)


@settings(max_examples=25)
@given(st.sampled_from([(1, 1), (1, 90), (90, 1), (37, 71), (1, 1, 1), (3, 1, 70), (9, 11, 13)]), st.data())
def test_images_of_any_shape_and_layout_equal_scikit_learn(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    x, y = samples(200)
    ours = fit_forest(x, y, SPEC, CLASSES, n_trees=5, seed=1)
    expected = RandomForestClassifier(n_estimators=5, random_state=1).fit(x, y)
    features = samples(math.prod(shape), 2)[0].T.reshape(-1, *shape)
    probabilities = expected.predict_proba(features.reshape(len(features), -1).T).T.reshape(3, *shape)
    layout = data.draw(st.sampled_from(["C", "F", "big-endian", "strided", "reversed"]))
    views = {
        "C": features,
        "F": np.asfortranarray(features),
        "big-endian": features.astype(">f4"),
        "strided": np.repeat(features, 2, -1)[..., ::2],
        "reversed": features[:, ::-1].copy()[:, ::-1],
    }
    np.testing.assert_allclose(predict_features(ours, views[layout]), probabilities, atol=1e-6)


def test_absent_class_has_probability_zero_in_its_own_column() -> None:
    x, y = samples(200, classes=2)
    p = predict_features(fit_forest(x, y * 2, SPEC, CLASSES, n_trees=5), x.T)
    assert (p[1] == 0).all()
    assert 0 <= p.min() <= p.max() <= 1
    assert p[2].max() > 0.5
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-6)


@pytest.mark.parametrize("n_trees", [1, 3, 40, 77])
def test_probabilities_of_two_classes_stay_within_0_and_1(n_trees: int) -> None:
    x, y = samples(300, classes=2)
    p = predict_features(fit_forest(x, y, SPEC, CLASSES[:2], n_trees=n_trees), x.T)
    assert 0 <= p.min() <= p.max() <= 1
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-6)


def test_saved_forests_are_the_same_bytes_and_predict_the_same(forest: Forest, tmp_path: Path) -> None:
    again = fit_forest(*samples(500), SPEC, CLASSES, n_trees=7, seed=3, n_jobs=2)
    forest.save(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = Forest.load(tmp_path / "a.npz")
    assert (loaded.spec, loaded.classes, loaded.record) == (SPEC, CLASSES, forest.record)
    x = samples(100)[0].T
    assert np.array_equal(predict_features(loaded, x), predict_features(forest, x))


def test_blocks_equal_the_whole(monkeypatch: pytest.MonkeyPatch, forest: Forest) -> None:
    raw = np.random.default_rng(0).random((90, 70), np.float32)
    whole = predict_features(forest, compute_features(raw, SPEC))
    monkeypatch.setattr("shallow2deep.inference.forest_maps._BLOCK", {2: 32})
    for threads in (1, 3):
        assert np.array_equal(predict_probabilities(forest, raw, threads=threads), whole)


@pytest.mark.parametrize("shape", [(700, 700), (80, 80, 80)])
def test_memory_is_that_of_a_block(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shallow2deep.inference.forest_maps._BLOCK", {2: 64, 3: 16})
    spec = FeatureSpec.ilastik([0.7, 1.6], len(shape))
    rng = np.random.default_rng(0)
    x, y = rng.random((50, spec.n_features), np.float32), np.arange(50) % 2
    forest = fit_forest(x, y, spec, ("a", "b"), n_trees=3)
    raw = rng.random(shape, np.float32)
    predict_probabilities(forest, raw[:20])  # compiles
    tracemalloc.start()
    p = predict_probabilities(forest, raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - p.nbytes < raw.nbytes * spec.n_features / 8


@pytest.mark.parametrize(
    "raw",
    [
        np.full((9, 9), np.nan),
        np.zeros((0, 9)),
        np.zeros((9, 9), complex),
        np.array([["a", "b"]]),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_raw_that_is_no_image_is_refused(raw: np.ndarray, device: str, forest: Forest) -> None:
    with pytest.raises(InputError, match="real, finite"):
        predict_probabilities(forest, raw, device)


@pytest.mark.parametrize("ndim", [2, 3])
def test_train_on_strokes(ndim: int) -> None:
    rng = np.random.default_rng(0)
    raw = 0.5 * rng.random((20, 40, 40)[3 - ndim :], np.float32)
    raw[..., 20:] += 1
    strokes = np.zeros(raw.shape, np.uint8)
    strokes[..., 5, 3:9], strokes[..., 9, 25:35] = 1, 2
    spec = FeatureSpec.ilastik([0.7, 1.6], ndim, ["GaussianSmoothing"])
    forest = train_forest(raw, strokes, spec, n_trees=20)
    p = predict_probabilities(forest, raw)
    assert forest.classes == ("class 1", "class 2")
    assert (p[1] > 0.5)[..., 24:].mean() > 0.95
    assert (p[1] > 0.5)[..., :16].mean() < 0.05
    several = train_forest([raw, raw[..., :30]], [strokes, np.zeros_like(raw[..., :30], np.uint8)], spec, 20)
    assert np.array_equal(predict_probabilities(several, raw), p)


def test_what_cannot_be_trained_on_is_refused() -> None:
    x, y = samples(50)
    with pytest.raises(SingleClassError, match="nucleus"):
        fit_forest(x, np.ones_like(y), SPEC, CLASSES)
    with pytest.raises(InputError, match="finite"):
        fit_forest(np.where(x > 2, np.nan, x), y, SPEC, CLASSES)
    with pytest.raises(InputError, match="shape"):
        fit_forest(x[:, 1:], y, SPEC, CLASSES)
    with pytest.raises(InputError, match="0 to 1"):
        fit_forest(x, y + 1, SPEC, CLASSES[:2])
    with pytest.raises(InputError, match="empty"):
        train_forest(np.zeros((9, 9)), np.zeros((9, 9), int), SPEC)
    with pytest.raises(InputError, match="differ"):
        train_forest(np.zeros((9, 9)), np.zeros((9, 8), int), SPEC)


def test_features_that_do_not_match_are_refused(forest: Forest) -> None:
    with pytest.raises(FeatureMismatchError):
        predict_features(forest, np.zeros((3, 4, 4), np.float32))
    with pytest.raises(FeatureMismatchError):
        predict_probabilities(forest, np.zeros((4, 4, 4), np.float32))
    with pytest.raises(InputError, match="0 threads"):
        predict_probabilities(forest, np.zeros((4, 4), np.float32), threads=0)


def rewritten(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a forest file with other arrays, or another record."""
    with np.load(source) as stored:
        arrays = dict(stored)
    for name, change in changes.items():
        if callable(change):
            arrays[name] = change(arrays[name])
    np.savez_compressed(target, **arrays)
    return target


def with_value(position: int, value: float):
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.reshape(-1)[position] = value
        return array

    return change


def with_record(**changes: object):
    def change(array: np.ndarray) -> np.ndarray:
        record = json.loads(array.tobytes()) | changes
        return np.frombuffer(json.dumps(record).encode(), np.uint8)

    return change


CRAFTED = {
    "child before its parent": {"children": with_value(0, 0)},
    "child beyond the tree": {"children": with_value(0, 10**6)},
    "child of two parents": {"children": lambda a: np.where(a == 3, 1, a)},
    "negative child": {"children": with_value(0, -5)},
    "feature out of range": {"features": with_value(0, 999)},
    "negative feature": {"features": with_value(0, -2)},
    "NaN threshold": {"thresholds": with_value(0, np.nan)},
    "infinite threshold": {"thresholds": with_value(0, np.inf)},
    "leaf without probabilities": {"leaf_values": lambda a: a[1:]},
    "leaf values of another sum": {"leaf_values": with_value(0, 7)},
    "tree sizes that overflow": {"tree_sizes": with_value(0, 2**31 - 1)},
    "negative tree size": {"tree_sizes": with_value(0, -1)},
    "no trees": {"tree_sizes": lambda a: a[:0]},
    "another type": {"features": lambda a: a.astype(np.int64)},
    "more axes": {"thresholds": lambda a: a[None]},
    "objects": {"thresholds": lambda a: a.astype(object)},
    "fewer classes": {"record": with_record(classes=["one", "two"])},
    "no spec": {"record": with_record(spec=None)},
    "fewer features": {"record": with_record(spec=FeatureSpec.ilastik([0.3]).to_dict())},
    "record that is no JSON": {"record": lambda a: a[:-5]},
    "newer format": {"record": with_record(format=99)},
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_files_are_refused(kind: str, forest: Forest, tmp_path: Path) -> None:
    forest.save(tmp_path / "good.npz")
    bad = rewritten(tmp_path / "good.npz", tmp_path / "bad.npz", **CRAFTED[kind])
    with pytest.raises(DamagedFileError):
        Forest.load(bad)


def test_claimed_sizes_are_checked_before_memory_is_taken(forest: Forest, tmp_path: Path) -> None:
    forest.save(tmp_path / "good.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "bad.npz", "w") as bad:
        for entry in good.namelist():
            bad.writestr(entry, header.getvalue() if entry == "thresholds.npy" else good.read(entry))
    with pytest.raises(DamagedFileError, match="shape"):
        Forest.load(tmp_path / "bad.npz")


@settings(max_examples=150)
@given(st.data())
def test_damaged_files_are_refused_or_predict(data: st.DataObject) -> None:
    whole = _bytes_of_a_forest()
    if data.draw(st.booleans()):
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        position = data.draw(st.integers(0, len(whole) - 1))
        broken = whole[:position] + bytes([data.draw(st.integers(0, 255))]) + whole[position + 1 :]
    try:
        loaded = Forest.load(io.BytesIO(broken))  # type: ignore[arg-type]
    except DamagedFileError:
        return
    p = predict_features(loaded, samples(20)[0].T)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-3)


_kept: list[bytes] = []


def _bytes_of_a_forest() -> bytes:
    if not _kept:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "forest.npz"
            fit_forest(*samples(60), SPEC, CLASSES, n_trees=2).save(path)
            _kept.append(path.read_bytes())
    return _kept[0]


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_random_node_arrays_are_refused_or_predict(seed: int) -> None:
    """What the checks let pass stays within bounds: the kernel itself does not check."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    features = rng.integers(-1, SPEC.n_features, n).astype(np.int16)
    children = rng.integers(0, n, n)
    if rng.random() < 0.7:
        children = 2 * np.cumsum(features >= 0) - 1
    leaves = int((features < 0).sum())
    values = rng.random((leaves, 3)).astype(np.float32)
    try:
        made = Forest(
            SPEC,
            CLASSES,
            np.array([n], np.int32),
            features,
            rng.normal(size=n).astype(np.float32),
            children.astype(np.int32),
            values / values.sum(1, keepdims=True),
        )
    except InputError:
        return
    p = predict_features(made, samples(30)[0].T)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-3)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"none\.npz"):
        Forest.load(tmp_path / "none.npz")
