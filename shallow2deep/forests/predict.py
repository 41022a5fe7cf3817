"""Applies forests to features and to images."""

import math
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
_PIXELS = 2**15  # that go through the forest at the same time
_PADDING = 80  # keeps the features of a pixel from competing for the same lines of the cache

compiled: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")


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
    shape = features.shape[1:]
    out = np.empty((len(forest.classes), *shape), np.float32)
    lines = max(1, _PIXELS // math.prod(shape[1:])) if features.size else 1
    columns = np.empty((len(features), lines * math.prod(shape[1:]) + _PADDING), np.float32)
    starts = np.concatenate([[0], np.cumsum(forest.tree_sizes)])
    leaves = np.cumsum(forest.features < 0, dtype=np.int32) - 1
    binary = len(out) == 2  # then one class is enough
    values = forest.leaf_values[:, 1:] if binary else forest.leaf_values
    nodes = (starts, forest.features, forest.thresholds, forest.children, leaves, values)
    for first in range(0, shape[0], lines):
        part = features[:, first : first + lines]
        count = part[0].size
        columns[:, :count] = part.reshape(len(features), count)
        sums = np.zeros((values.shape[1], count))
        _add_leaf_values(columns, *nodes, sums)
        mean = (sums / forest.n_trees).reshape(-1, *part.shape[1:])
        out[:, first : first + lines] = [1 - mean[0], mean[0]] if binary else mean
    return out


def predict_probabilities(
    forest: Forest, raw: np.ndarray, device: str = "cpu", engine: str = "numba"
) -> np.ndarray:
    """Probability of each class at each pixel, block by block: memory for features is that of one block.

    Args:
        raw: `(*spatial)`, finite, in the intensity range the forest was trained on.
        device: "cpu", or where torch is to compute filters and forest, such as "cuda".
        engine: on the CPU, see `compute_features`.

    Returns:
        float32 `(classes, *spatial)`; sums to 1; a class that was never drawn has probability 0.

    Raises:
        FeatureMismatchError: raw has not the number of axes of the forest's features.
    """
    spec = forest.spec
    if raw.ndim != spec.ndim:
        raise FeatureMismatchError(
            f"raw with {raw.ndim} axes was given to a forest on {spec.ndim}D features; give as many axes"
        )
    require_memory(4 * raw.size * len(forest.classes), "the probabilities of an image")
    out = np.empty((len(forest.classes), *raw.shape), np.float32)
    predict_block = _on_processor(forest, engine) if device == "cpu" else _on_device(forest, device)
    for block in blocks(raw.shape, (_BLOCK[spec.ndim],) * spec.ndim, spec.halo):
        out[(slice(None), *block.inner)] = predict_block(raw[block.outer], (slice(None), *block.local))
    return out


_PredictBlock = Callable[[np.ndarray, tuple[slice, ...]], np.ndarray]


def _on_processor(forest: Forest, engine: str) -> _PredictBlock:
    """From raw with its halo, and the window without, to probabilities, by the compiled kernels."""
    n_features = forest.spec.n_features
    buffer = np.empty(0, np.float32)

    def predict(raw: np.ndarray, local: tuple[slice, ...]) -> np.ndarray:
        nonlocal buffer
        if buffer.size < n_features * raw.size:
            buffer = np.empty(n_features * raw.size, np.float32)
        place = buffer[: n_features * raw.size].reshape(n_features, *raw.shape)
        return predict_features(forest, compute_features(raw, forest.spec, engine, out=place)[local])

    return predict


def _on_device(forest: Forest, device: str) -> _PredictBlock:
    """The same by torch; only raw and probabilities cross to the device and back."""
    import torch

    from shallow2deep.features.torch_bank import compute_features_torch
    from shallow2deep.forests.torch_predict import TorchForest

    on_device = TorchForest(forest, torch.device(device))

    def predict(raw: np.ndarray, local: tuple[slice, ...]) -> np.ndarray:
        image = torch.from_numpy(np.ascontiguousarray(raw, np.float32)).to(device)
        return on_device.predict(compute_features_torch(image, forest.spec)[local]).cpu().numpy()

    return predict


@compiled
def _add_leaf_values(  # type: ignore[no-untyped-def]
    columns, starts, features, thresholds, children, leaves, values, sums
):
    """Adds, for each pixel, the values of the leaf that it reaches in each tree.

    All pixels go down a tree together: at a node their numbers are parted into those that go left, at the
    front of another list, and those that go right, at its end. So feature and threshold are read once for
    many pixels, nothing has to wait for a memory access, and no step is made beyond a leaf.

    Args:
        columns: float32 `(F, n)`; may have more columns than there are pixels.
        starts: first node of each tree, and the number of nodes.
        leaves: number of the leaf at each node.
        sums: float64 `(C, n)`, where the values are added.
    """
    n_classes, n = sums.shape
    pixels = np.empty((2, n), np.uint32)
    most = 0
    for tree in range(len(starts) - 1):
        most = max(most, starts[tree + 1] - starts[tree])
    waiting = np.empty((most + 1, 4), np.int64)  # node, first and last pixel, in which of the two lists
    for tree in range(len(starts) - 1):
        for i in range(n):
            pixels[0, i] = i
        waiting[0] = (0, 0, n, 0)
        count = 1
        while count > 0:
            count -= 1
            own, low, high, which = waiting[count]
            node = starts[tree] + own
            left = np.int64(children[node])
            here, there = pixels[which], pixels[1 - which]
            if features[node] < 0:
                for c in range(n_classes):
                    value, target = values[leaves[node], c], sums[c]
                    for i in range(np.uint64(low), np.uint64(high)):
                        target[np.uint64(here[i])] += value
                continue
            x, threshold = columns[features[node]], thresholds[node]
            front, back = np.uint64(low), np.uint64(high - 1)
            for i in range(np.uint64(low), np.uint64(high)):
                pixel = here[i]
                right = x[np.uint64(pixel)] > threshold
                there[front] = pixel
                there[back] = pixel
                front += np.uint64(not right)
                back -= np.uint64(right)
            middle = np.int64(front)
            if middle > low:
                waiting[count] = (left, low, middle, 1 - which)
                count += 1
            if high > middle:
                waiting[count] = (left + 1, middle, high, 1 - which)
                count += 1
