"""Applies forests to features and to images."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shallow2deep.blocks import Block, Window, blocks
from shallow2deep.errors import FeatureMismatchError, InputError
from shallow2deep.features import MARGIN, compute_features
from shallow2deep.forests.forest import Forest
from shallow2deep.forests.kernel import Traversal
from shallow2deep.io.memory import require_memory

_BLOCK = {2: 512, 3: 96}  # side, pixels


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
    return Traversal(forest).predict(np.asarray(features, np.float32))


def predict_probabilities(
    forest: Forest, raw: np.ndarray, device: str = "cpu", engine: str = "numba", threads: int = 1
) -> np.ndarray:
    """Probability of each class at each pixel, block by block: memory for features is that of a block.

    Args:
        raw: `(*spatial)` or `(C, *spatial)`, finite, in the intensity range the forest was trained on.
        device: "cpu", or where torch is to compute filters and forest, such as "cuda". Forests on vigra's
            features, which count to the bit, are applied on the CPU in any case, and so are those on "mps",
            which lacks float64.
        engine: on the CPU, see `compute_features`.
        threads: on the CPU, blocks at the same time; the result is the same for any number.

    Returns:
        float32 `(classes, *spatial)`; sums to 1; a class that was never drawn has probability 0.

    Raises:
        FeatureMismatchError: raw has not the number of axes of the forest's features.
        InputError: raw is empty or not of finite, real numbers, or no thread was given.
    """
    spec = forest.spec
    shape = raw.shape[raw.ndim - spec.ndim :]
    if raw.shape not in (shape, (spec.channels, *shape)) or (raw.shape == shape and spec.channels > 1):
        raise FeatureMismatchError(
            f"raw of shape {raw.shape} was given to a forest on {spec.ndim}D features of {spec.channels} "
            "channels; give as many axes and channels"
        )
    if raw.size == 0 or raw.dtype.kind not in "buif" or not np.isfinite(raw).all():
        raise InputError(
            f"raw of shape {raw.shape} and type {raw.dtype} was given; give real, finite numbers"
        )
    if threads < 1:
        raise InputError(f"{threads} threads were asked for; give 1 or more")
    require_memory(4 * math.prod(shape) * len(forest.classes), "the probabilities of an image")
    out = np.empty((len(forest.classes), *shape), np.float32)
    channels = (slice(None),) * (raw.ndim - spec.ndim)
    on_processor = device in ("cpu", "mps") or spec.library == "vigra"
    predict_block = _on_processor(forest, engine) if on_processor else _on_device(forest, device)

    def predict(block: Block) -> None:
        part = raw[(*channels, *block.outer)]
        out[(slice(None), *block.inner)] = predict_block(part, block.local)

    with ThreadPoolExecutor(threads if on_processor else 1) as pool:
        for _ in pool.map(predict, blocks(shape, (_BLOCK[spec.ndim],) * spec.ndim, spec.halo)):
            pass
    return out


_PredictBlock = Callable[[np.ndarray, Window], np.ndarray]


def _on_processor(forest: Forest, engine: str) -> _PredictBlock:
    """From raw with its halo, and the window without, to probabilities, by the compiled kernels."""
    n_features = forest.spec.n_features
    traversal = Traversal(forest)
    kept = threading.local()  # each thread computes in memory of its own

    def predict(raw: np.ndarray, local: Window) -> np.ndarray:
        size = n_features * math.prod(s.stop - s.start + 2 * MARGIN for s in local)
        if not hasattr(kept, "memory") or kept.memory.size < size:
            require_memory(4 * size, "the features of a block")
            kept.memory = np.empty(size, np.float32)
        return traversal.predict(compute_features(raw, forest.spec, engine, out=kept.memory, inner=local))

    return predict


def _on_device(forest: Forest, device: str) -> _PredictBlock:
    """The same by torch; only raw and probabilities cross to the device and back."""
    import torch

    from shallow2deep.features.torch_bank import compute_features_torch
    from shallow2deep.forests.torch_predict import TorchForest

    on_device = TorchForest(forest, torch.device(device))

    def predict(raw: np.ndarray, local: Window) -> np.ndarray:
        image = torch.from_numpy(np.ascontiguousarray(raw, np.float32)).to(device)
        features = compute_features_torch(image, forest.spec)[(slice(None), *local)]
        return on_device.predict(features).cpu().numpy()

    return predict
