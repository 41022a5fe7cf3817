"""Forests into ilastik projects and back: the same predictions, by us and by vigra itself."""

import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ilp_file import FOREST_GROUP, LABELS, SPEC, grown, untrained_project, write_project

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.exports.forest_in_project import export_forest
from shallow2deep.forests import Forest, predict_features
from shallow2deep.forests.vigra import read_forests


def around(forest: Forest, count: int = 3000) -> np.ndarray:
    """Features `(F, count)`, many of them exactly at thresholds."""
    rng = np.random.default_rng(0)
    known = forest.thresholds[forest.features >= 0]
    values = np.concatenate([known, np.nextafter(known, np.float32(9)), rng.normal(2, 3, 50)])
    return rng.choice(values.astype(np.float32), (SPEC.n_features, count))


@settings(max_examples=20)
@given(st.integers(0, 999), st.sampled_from([None, 1, 3]))
def test_there_and_back(tmp_path: Path, seed: int, max_depth: int | None) -> None:
    forest = grown(seed, max_depth=max_depth)
    (tmp_path / "copy.ilp").unlink(missing_ok=True)
    copy = export_forest(forest, untrained_project(tmp_path), tmp_path / "copy.ilp")
    again = read_forests(copy, FOREST_GROUP, SPEC, LABELS)
    x = around(forest)
    np.testing.assert_array_equal(predict_features(again, x), predict_features(forest, x))


def test_labels_in_another_order_and_one_that_was_not_painted(tmp_path: Path) -> None:
    names = ("cell", "wall", "dust")
    path = untrained_project(tmp_path, names)
    forest = grown(1, classes=("wall", "cell", "dust"))
    again = read_forests(export_forest(forest, path, tmp_path / "copy.ilp"), FOREST_GROUP, SPEC, names)
    x = around(forest)
    np.testing.assert_array_equal(predict_features(again, x), predict_features(forest, x)[[1, 0, 2]])
    assert not predict_features(again, x)[2].any()


def test_projects_without_a_forest_are_refused(tmp_path: Path) -> None:
    raw = np.zeros((20, 20, 1), np.uint8)
    path = write_project(tmp_path / "p.ilp", [(raw, "yxc", np.zeros_like(raw))])
    with pytest.raises(InputError, match="Live Update"):
        read_forests(path, FOREST_GROUP, SPEC, LABELS)


def test_weighted_votes_are_refused(tmp_path: Path) -> None:
    copy = export_forest(grown(0), untrained_project(tmp_path), tmp_path / "copy.ilp")
    with h5py.File(copy, "r+") as file:
        file[f"{FOREST_GROUP}/Forest0000/_options/predict_weighted_"][...] = 1
    with pytest.raises(InputError, match="weighted"):
        read_forests(copy, FOREST_GROUP, SPEC, LABELS)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 7),  # another number of features
        (2, 5),  # an unknown kind of node
        (3, 10**6),  # parameters far outside
        (4, 2),  # a child that is the root
        (4, -3),
        (4, 10**6),
        (6, 99),  # an unknown feature
    ],
)
def test_crafted_trees_are_refused(tmp_path: Path, place: int, value: int) -> None:
    copy = export_forest(grown(0), untrained_project(tmp_path), tmp_path / "copy.ilp")
    with h5py.File(copy, "r+") as file:
        file[f"{FOREST_GROUP}/Forest0000/Tree_0/topology"][place] = value
    with pytest.raises((DamagedFileError, InputError)):
        read_forests(copy, FOREST_GROUP, SPEC, LABELS)


def test_vigra_predicts_the_same(vigra_python: Path, tmp_path: Path) -> None:
    forest = grown(3, n_trees=12)
    copy = export_forest(forest, untrained_project(tmp_path), tmp_path / "copy.ilp")
    x = around(forest)
    np.save(tmp_path / "x.npy", np.ascontiguousarray(x.T))
    code = (
        "import sys, numpy, vigra; folder, project, group = sys.argv[1:]\n"
        "forest = vigra.learning.RandomForest(project, group)\n"
        "p = forest.predictProbabilities(numpy.load(folder + '/x.npy'))\n"
        "numpy.save(folder + '/p.npy', numpy.asarray(p))"
    )
    subprocess.run([vigra_python, "-c", code, tmp_path, copy, f"{FOREST_GROUP}/Forest0000"], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy").T, predict_features(forest, x), atol=1e-6)
