"""Forests into copies of ilastik projects: what changes in the copy, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from ilp_file import FOREST_GROUP, LABELS, grown, untrained_project, write_project

from shallow2deep.errors import InputError
from shallow2deep.exports.forest_in_project import export_forest
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, fit_forest


def test_the_project_stays_and_only_the_forest_of_the_copy_changes(tmp_path: Path) -> None:
    path = untrained_project(tmp_path)
    before = path.read_bytes()
    copy = export_forest(grown(0), path, tmp_path / "copy.ilp")
    assert path.read_bytes() == before
    with h5py.File(path) as old, h5py.File(copy) as new:
        names: list[str] = []
        old.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        for name in names:
            if FOREST_GROUP not in name:
                np.testing.assert_array_equal(old[name][()], new[name][()])


@pytest.mark.parametrize(
    ("forest", "message"),
    [
        (grown(0, classes=("a", "b")), "labels"),
        (
            fit_forest(
                np.eye(2, 49, dtype=np.float32), np.arange(2), FeatureSpec.ilastik(), LABELS, n_trees=1
            ),
            "other features",
        ),
    ],
)
def test_forests_of_other_projects_are_refused(tmp_path: Path, forest: Forest, message: str) -> None:
    with pytest.raises(InputError, match=message):
        export_forest(forest, untrained_project(tmp_path), tmp_path / "copy.ilp")
    assert not (tmp_path / "copy.ilp").exists()


def test_projects_without_a_forest_are_refused(tmp_path: Path) -> None:
    raw = np.zeros((20, 20, 1), np.uint8)
    path = write_project(tmp_path / "p.ilp", [(raw, "yxc", np.zeros_like(raw))])
    with pytest.raises(InputError, match="Live Update"):
        export_forest(grown(0), path, tmp_path / "copy.ilp")
    assert not (tmp_path / "copy.ilp").exists()


def test_a_project_is_not_replaced_by_its_copy(tmp_path: Path) -> None:
    project = untrained_project(tmp_path)
    before = project.read_bytes()
    with pytest.raises(InputError, match="new file"):
        export_forest(grown(0), project, project)
    assert project.read_bytes() == before
