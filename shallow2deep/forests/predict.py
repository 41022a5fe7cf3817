"""Applies forests to features and to images."""

import math
from collections.abc import Callable

import numpy as np

from shallow2deep.blocks import blocks
from shallow2deep.errors import FeatureMismatchError
from shallow2deep.features import compute_features
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
    forest: Forest, raw: np.ndarray, device: str = "cpu", engine: str = "numba"
) -> np.ndarray:
    """Probability of each class at each pixel, block by block: memory for features is that of one block.

    Args:
        raw: `(*spatial)` or `(C, *spatial)`, finite, in the intensity range the forest was trained on.
        device: "cpu", or where torch is to compute filters and forest, such as "cuda".
        engine: on the CPU, see `compute_features`.

    Returns:
        float32 `(classes, *spatial)`; sums to 1; a class that was never drawn has probability 0.

    Raises:
        FeatureMismatchError: raw has not the number of axes of the forest's features.
    """
    spec = forest.spec
    shape = raw.shape[raw.ndim - spec.ndim :]
    if raw.shape not in (shape, (spec.channels, *shape)) or (raw.shape == shape and spec.channels > 1):
        raise FeatureMismatchError(
            f"raw of shape {raw.shape} was given to a forest on {spec.ndim}D features of {spec.channels} "
            "channels; give as many axes and channels"
        )
    require_memory(4 * math.prod(shape) * len(forest.classes), "the probabilities of an image")
    out = np.empty((len(forest.classes), *shape), np.float32)
    predict_block = _on_processor(forest, engine) if device == "cpu" else _on_device(forest, device)
    channels = (slice(None),) * (raw.ndim - spec.ndim)
    for block in blocks(shape, (_BLOCK[spec.ndim],) * spec.ndim, spec.halo):
        part = raw[(*channels, *block.outer)]
        out[(slice(None), *block.inner)] = predict_block(part, (slice(None), *block.local))
    return out


_PredictBlock = Callable[[np.ndarray, tuple[slice, ...]], np.ndarray]


def _on_processor(forest: Forest, engine: str) -> _PredictBlock:
    """From raw with its halo, and the window without, to probabilities, by the compiled kernels."""
    n_features = forest.spec.n_features
    traversal = Traversal(forest)
    buffer = np.empty(0, np.float32)

    def predict(raw: np.ndarray, local: tuple[slice, ...]) -> np.ndarray:
        nonlocal buffer
        shape = raw.shape[raw.ndim - forest.spec.ndim :]
        size = n_features * math.prod(shape)
        if buffer.size < size:
            buffer = np.empty(size, np.float32)
        place = buffer[:size].reshape(n_features, *shape)
        return traversal.predict(compute_features(raw, forest.spec, engine, out=place)[local])

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
