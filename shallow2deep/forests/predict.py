"""Applies forests to features and to images."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from shallow2deep.blocks import blocks
from shallow2deep.errors import FeatureMismatchError
from shallow2deep.features import compute_features
from shallow2deep.forests.forest import Forest
from shallow2deep.io.memory import require_memory

_BLOCK = {2: 512, 3: 96}  # side, pixels
_PIXELS = 1024  # whose features are looked up at the same time: they fit the second-level cache

compiled: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")
part_of_loop: Callable[..., Any] = njit(nogil=True, error_model="numpy", forceinline=True)


def predict_features(forest: Forest, features: np.ndarray) -> np.ndarray:
    """Probability of each class at each pixel.

    Args:
        features: float32 `(F, *spatial)`, of the forest's spec.

    Returns:
        float32 `(classes, *spatial)`; sums to 1.

    Raises:
        FeatureMismatchError: not the forest's number of features.
    """
    if len(features) != forest.spec.n_features:
        raise FeatureMismatchError(
            f"{len(features)} features were given to a forest of {forest.spec.n_features}; "
            "compute them with the forest's spec"
        )
    out = np.empty((len(forest.classes), *features.shape[1:]), np.float32)
    columns = np.ascontiguousarray(features, np.float32).reshape(len(features), -1)
    _predict(columns, *_kernel_arrays(forest), out.reshape(len(out), -1))
    return out


def predict_probabilities(forest: Forest, raw: np.ndarray) -> np.ndarray:
    """Probability of each class at each pixel, block by block: memory for features is that of one block.

    Args:
        raw: `(*spatial)`, finite, in the intensity range the forest was trained on.

    Returns:
        float32 `(classes, *spatial)`; sums to 1; a class that was never drawn has probability 0.

    Raises:
        FeatureMismatchError: raw has not the number of axes of the forest's features.
    """
    spec = forest.spec
    if raw.ndim != spec.ndim:
        raise FeatureMismatchError(
            f"raw with {raw.ndim} axes was given to a forest on features of {spec.ndim}; give as many axes"
        )
    require_memory(4 * raw.size * len(forest.classes), "the probabilities of an image")
    out = np.empty((len(forest.classes), *raw.shape), np.float32)
    for block in blocks(raw.shape, (_BLOCK[spec.ndim],) * spec.ndim, spec.halo):
        features = compute_features(raw[block.outer], spec)[(slice(None), *block.local)]
        out[(slice(None), *block.inner)] = predict_features(forest, features)
    return out


def _kernel_arrays(forest: Forest) -> tuple[np.ndarray, ...]:
    """The forest with leaves that lead to themselves, so that every step is the same."""
    starts = np.concatenate([[0], np.cumsum(forest.tree_sizes)])
    leaf = forest.features < 0
    own = np.arange(len(leaf)) - np.repeat(starts[:-1], forest.tree_sizes)
    features = np.where(leaf, 0, forest.features).astype(np.uint16)
    thresholds = np.where(leaf, np.float32(np.inf), forest.thresholds)
    children = np.where(leaf, own, forest.children).astype(np.uint32)
    values = np.zeros((len(leaf), len(forest.classes)), np.float32)
    values[leaf] = forest.leaf_values
    return starts, features, thresholds, children, values


@part_of_loop
def _next(node, x, features, thresholds, children):  # type: ignore[no-untyped-def]
    goes_right = x[np.uint64(features[node])] > thresholds[node]
    return np.uint64(children[node] + np.uint32(goes_right))


@compiled
def _predict(columns, starts, features, thresholds, children, values, out):  # type: ignore[no-untyped-def]
    """Mean of the trees' leaf values, into `out` `(classes, n)`.

    Eight pixels go down a tree at the same time, so that the processor does not wait for one node to know
    the next; unsigned indices spare the test for negative ones.
    """
    n_features, n = columns.shape
    n_trees, n_classes = len(starts) - 1, len(out)
    rows = np.zeros((_PIXELS, n_features), np.float32)
    sums = np.empty((_PIXELS, n_classes), np.float64)
    for first in range(0, n, _PIXELS):
        count = min(_PIXELS, n - first)
        for f in range(n_features):
            for i in range(count):
                rows[i, f] = columns[f, first + i]
        sums[:] = 0
        for tree in range(n_trees):
            f = features[starts[tree] : starts[tree + 1]]
            t = thresholds[starts[tree] : starts[tree + 1]]
            k = children[starts[tree] : starts[tree + 1]]
            v = values[starts[tree] : starts[tree + 1]]
            for i in range(0, count, 8):  # beyond the last pixel stand rows of an earlier block, or zeros
                r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
                r4, r5, r6, r7 = rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7]
                a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = np.uint64(0)
                while True:
                    b0, b1 = _next(a0, r0, f, t, k), _next(a1, r1, f, t, k)
                    b2, b3 = _next(a2, r2, f, t, k), _next(a3, r3, f, t, k)
                    b4, b5 = _next(a4, r4, f, t, k), _next(a5, r5, f, t, k)
                    b6, b7 = _next(a6, r6, f, t, k), _next(a7, r7, f, t, k)
                    a0, a1 = _next(b0, r0, f, t, k), _next(b1, r1, f, t, k)
                    a2, a3 = _next(b2, r2, f, t, k), _next(b3, r3, f, t, k)
                    a4, a5 = _next(b4, r4, f, t, k), _next(b5, r5, f, t, k)
                    a6, a7 = _next(b6, r6, f, t, k), _next(b7, r7, f, t, k)
                    moved = (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3)
                    if moved | (a4 ^ b4) | (a5 ^ b5) | (a6 ^ b6) | (a7 ^ b7) == 0:
                        break
                for c in range(n_classes):
                    sums[i, c] += v[a0, c]
                    sums[i + 1, c] += v[a1, c]
                    sums[i + 2, c] += v[a2, c]
                    sums[i + 3, c] += v[a3, c]
                    sums[i + 4, c] += v[a4, c]
                    sums[i + 5, c] += v[a5, c]
                    sums[i + 6, c] += v[a6, c]
                    sums[i + 7, c] += v[a7, c]
        for c in range(n_classes):
            for i in range(count):
                out[c, first + i] = sums[i, c] / n_trees
