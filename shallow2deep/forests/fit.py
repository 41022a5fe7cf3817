"""Trains forests with scikit-learn, and takes their trees out of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests.forest import Forest

if TYPE_CHECKING:
    from sklearn.tree._tree import Tree


class SingleClassError(InputError):
    """Samples of one class only: nothing can be told apart."""


def fit_forest(
    x: np.ndarray,
    y: np.ndarray,
    spec: FeatureSpec,
    classes: Sequence[str],
    *,
    n_trees: int = 100,
    max_depth: int | None = None,
    min_samples_leaf: int = 1,
    max_samples: float | None = None,
    random_thresholds: bool = False,
    seed: int = 0,
    n_jobs: int = 1,
    record: Mapping[str, Any] | None = None,
) -> Forest:
    """A forest of samples.

    Args:
        x: float32 `(n, F)`.
        y: `(n,)`, numbers of the classes from 0; a class that is absent gets probability 0.
        spec: the features in `x`.
        classes: names.
        max_depth: None: unlimited.
        max_samples: share of the samples that each tree is grown on, drawn with replacement.
        random_thresholds: extremely randomised trees (Geurts et al. 2006), several times faster to grow.
        n_jobs: trees grown at the same time; the result is the same for any number.
        record: how the samples came about; stored with the forest.

    Raises:
        InputError: shapes that do not fit, or values that are not finite.
        SingleClassError: samples of one class only.
    """
    import sklearn
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # slow to import

    if x.ndim != 2 or x.shape != (len(y), spec.n_features):
        raise InputError(
            f"samples of shape {x.shape} and {len(y)} classes do not fit {spec.n_features} features"
        )
    if len(y) == 0 or y.min() < 0 or y.max() >= len(classes):
        raise InputError(
            f"class numbers 0 to {len(classes) - 1} were expected; there are {np.unique(y)!s:.60}"
        )
    if not np.isfinite(x).all():
        raise InputError("features that are not finite cannot be trained on; check raw for NaN and infinity")
    present = np.unique(y)
    if len(present) < 2:
        raise SingleClassError(
            f'all samples are of the class "{classes[present[0]]}"; give samples of at least two classes'
        )
    options: dict[str, Any] = {
        "n_estimators": n_trees,
        "max_depth": max_depth,
        "min_samples_leaf": min_samples_leaf,
        "max_samples": max_samples,
        "random_state": seed,
        "n_jobs": n_jobs,
        "bootstrap": not random_thresholds or max_samples is not None,
    }
    kind = ExtraTreesClassifier if random_thresholds else RandomForestClassifier
    fitted = kind(**options).fit(x, y)
    growth = {k: v for k, v in options.items() if k != "n_jobs"} | {"kind": kind.__name__}
    growth["versions"] = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    trees = [_tree_arrays(estimator.tree_, present, len(classes)) for estimator in fitted.estimators_]
    features, thresholds, children, values = (np.concatenate(arrays) for arrays in zip(*trees, strict=True))
    sizes = np.array([len(tree[0]) for tree in trees], np.int32)
    return Forest(
        spec,
        tuple(classes),
        sizes,
        features,
        thresholds,
        children,
        values,
        {"growth": growth} | dict(record or {}),
    )


def _tree_arrays(tree: "Tree", present: np.ndarray, n_classes: int) -> tuple[np.ndarray, ...]:
    """The nodes of a scikit-learn tree, breadth first, as `Forest` holds them."""
    levels = [np.zeros(1, np.intp)]
    while True:
        inner = levels[-1][tree.children_left[levels[-1]] >= 0]
        if not len(inner):
            break
        levels.append(np.stack([tree.children_left[inner], tree.children_right[inner]], 1).ravel())
    order = np.concatenate(levels)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    left = tree.children_left[order]
    leaf = left < 0
    features = np.where(leaf, -1, tree.feature[order]).astype(np.int16)
    thresholds = np.where(leaf, 0, _rounded_down(tree.threshold[order])).astype(np.float32)
    children = np.where(leaf, 0, place[left]).astype(np.int32)
    values = np.zeros((int(leaf.sum()), n_classes), np.float32)
    counts = tree.value[order[leaf]][:, 0, :]
    values[:, present] = counts / counts.sum(1, keepdims=True)
    return features, thresholds, children, values


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64: for float32 x, `x <= threshold` stays the same."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
