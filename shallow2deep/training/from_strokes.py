"""Trains a forest on the pixels under brush strokes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.features import Bank, FeatureSpec, bank_of
from shallow2deep.forests import Forest, fit_forest
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.forest_maps import BLOCK
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.predictor import ArraySource
from shallow2deep.outputs import Output


def stroke_features(
    raws: Sequence[np.ndarray], strokes: Sequence[np.ndarray], spec: FeatureSpec, engine: str = "numba"
) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes of the pixels under strokes; features are computed only around strokes.

    Args:
        raws: `(*spatial)` or `(C, *spatial)` each.
        strokes: integers `(*spatial)`: 0 unlabelled, k for class k - 1.
        engine: see `compute_features`.

    Returns:
        float32 `(n, F)` and int64 `(n,)`, image by image, in scan order of blocks.

    Raises:
        InputError: shapes differ.
    """
    found = _UnderStrokes([np.empty((0, spec.n_features), np.float32)], [np.empty(0, np.int64)])
    features = _Features(bank_of(spec, engine))
    side = (BLOCK[spec.ndim],) * spec.ndim
    for raw, labels in zip(raws, strokes, strict=True):
        if raw.shape[raw.ndim - spec.ndim :] != labels.shape:
            raise InputError(
                f"raw of shape {raw.shape} and strokes of shape {labels.shape} differ; give a pair"
            )
        found.labels = labels
        predict_blocks(features, ArraySource(raw), found, side, wanted=partial(_any_in, labels))
    return np.concatenate(found.x), np.concatenate(found.y)


def _any_in(labels: np.ndarray, window: Window) -> bool:
    return bool(labels[window].any())


@dataclass(frozen=True)
class _Features:
    """A bank as what the block loop applies."""

    bank: Bank
    border: Literal["clip"] = "clip"
    outputs: Sequence[Output] = ()

    @property
    def halo(self) -> Sequence[int]:
        return self.bank.halo

    @property
    def step(self) -> Sequence[int]:
        return (1,) * self.bank.ndim

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        return self.bank.compute(block, inner)


@dataclass
class _UnderStrokes:
    """Keeps of each block's features those of labelled pixels."""

    x: list[np.ndarray]
    y: list[np.ndarray]
    labels: np.ndarray = field(default_factory=lambda: np.empty(0))

    def write(self, window: Window, values: np.ndarray) -> None:
        chosen = self.labels[window]
        self.x.append(values[:, chosen > 0].T)
        self.y.append(chosen[chosen > 0].astype(np.int64) - 1)


def train_forest(
    raw: np.ndarray | Sequence[np.ndarray],
    strokes: np.ndarray | Sequence[np.ndarray],
    spec: FeatureSpec,
    n_trees: int = 100,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    n_jobs: int = -1,
    brightness: float = 0.0,
    engine: str = "numba",
    **growth: Any,
) -> Forest:
    """A forest of brush strokes.

    Args:
        raw: an image `(*spatial)` or `(C, *spatial)`, or several.
        strokes: for each image integers `(*spatial)`: 0 unlabelled, 1 the first class, 2 the second …
        spec: the features to train on.
        classes: names; "class 1", "class 2" … if not given.
        n_jobs: trees grown at the same time; -1: one per core. The result is the same for any number.
        brightness: strokes are also learned on each image made darker and brighter by this many of its
            standard deviations, for images that differ in brightness from the painted ones.
        engine: see `compute_features`.
        growth: as for `fit_forest`; min_samples_leaf counts labelled pixels.

    Returns:
        A forest whose record holds, as `raw`, the range of values of the images.

    Raises:
        InputError: shapes differ, no strokes, or strokes of one class only.
    """
    raws = [raw] if isinstance(raw, np.ndarray) else list(raw)
    drawn = [strokes] if isinstance(strokes, np.ndarray) else list(strokes)
    if len(raws) != len(drawn):
        raise InputError(f"{len(raws)} images and {len(drawn)} stroke images were given; give pairs")
    shifts = (-brightness, 0.0, brightness) if brightness else (0.0,)
    shifted = [raw + np.float32(shift * raw.std()) if shift else raw for shift in shifts for raw in raws]
    x, y = stroke_features(shifted, drawn * len(shifts), spec, engine)
    growth["min_samples_leaf"] = growth.get("min_samples_leaf", 1) * len(shifts)
    if len(y) == 0:
        raise InputError("the strokes are empty; paint a few in each class")
    names = classes or tuple(f"class {n + 1}" for n in range(max(int(y.max()) + 1, 2)))
    record = {"raw": Intensities.together([Intensities.of(raw, spec.ndim) for raw in raws]).to_dict()}
    return fit_forest(x, y, spec, names, n_trees=n_trees, seed=seed, n_jobs=n_jobs, record=record, **growth)
