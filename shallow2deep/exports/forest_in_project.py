"""Puts a forest into a copy of an ilastik project, which then predicts as the forest does."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, predict_features
from shallow2deep.forests.vigra import read_forests, write_forest
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.ilp import Project, open_project

_THIN = (None, 2, 1)  # depths of volumes in which ilastik computes ever more filters plane by plane


def export_forest(forest: Forest, project: str | Path, out: str | Path) -> Path:
    """Copies a project and replaces its forest.

    Args:
        forest: of the project's features and labels, in any order of the labels.
        project: with a trained forest; it stays as it is.
        out: the copy, whole or not at all.

    Raises:
        InputError: a forest of other features or labels, or a project without a forest.
    """
    source, out = open_project(project), Path(out)
    if out.suffix.lower() != ".ilp" or out.exists():
        raise InputError(f"{out}: give the name of a new file that ends in .ilp")
    if not source.has_forest:
        raise InputError(
            f"{source.path} holds no trained forest to replace; press Live Update in ilastik and save, then "
            "export again"
        )
    _check(forest, source)
    ordered = _by_label(forest, source)
    group = f"{source.group}/ClassifierForests"
    with atomic_path(out) as temporary:
        shutil.copyfile(source.path, temporary)
        write_forest(ordered, temporary, group)
        _verify(ordered, read_forests(temporary, group, forest.spec, source.label_names))
    return out


def _check(forest: Forest, project: Project) -> None:
    spec = forest.spec
    known = [
        FeatureSpec.of_selection(project.selection, spec.ndim, depth, spec.channels, project.filter_library)
        for depth in _THIN
    ]
    if spec not in known:
        raise InputError(
            f"{project.path} has other features than the forest ({known[0].difference(spec)}); train it "
            "with the project's features: s2d adapt --ilp"
        )
    if set(forest.classes) != set(project.label_names):
        raise InputError(
            f"{project.path} has the labels {list(project.label_names)} but the forest "
            f"{list(forest.classes)}; train the forest on the project: s2d adapt --ilp"
        )


def _by_label(forest: Forest, project: Project) -> Forest:
    columns = [forest.classes.index(name) for name in project.label_names]
    values = np.ascontiguousarray(forest.leaf_values[:, columns])
    return replace(forest, classes=project.label_names, leaf_values=values)


def _verify(forest: Forest, written: Forest) -> None:
    """On values at and around the thresholds, where a difference would show."""
    rng = np.random.default_rng(0)
    inner = forest.features >= 0
    x = np.zeros((forest.spec.n_features, 4096), np.float32)
    for column in range(len(x)):
        known = forest.thresholds[inner & (forest.features == column)]
        if len(known):
            x[column] = rng.choice(np.concatenate([known, np.nextafter(known, np.float32(np.inf))]), 4096)
    if abs(predict_features(forest, x) - predict_features(written, x)).max() > 1e-6:
        raise Shallow2DeepError(
            "the forest in the project predicts otherwise than the trained one; please report it"
        )
