"""Forest files: the same bytes every time, and safe to load whatever they hold."""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from forests.samples import CLASSES, SPEC, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, fit_forest, predict_features


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit_forest(*samples(500), SPEC, CLASSES, n_trees=7, seed=3)


def test_saved_forests_are_the_same_bytes_and_predict_the_same(forest: Forest, tmp_path: Path) -> None:
    again = fit_forest(*samples(500), SPEC, CLASSES, n_trees=7, seed=3, n_jobs=2)
    forest.save(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = Forest.load(tmp_path / "a.npz")
    assert (loaded.spec, loaded.classes, loaded.record) == (SPEC, CLASSES, forest.record)
    x = samples(100)[0].T
    assert np.array_equal(predict_features(loaded, x), predict_features(forest, x))


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
