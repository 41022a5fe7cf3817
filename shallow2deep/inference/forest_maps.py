"""Forests as predictors, and whole images through them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import FeatureMismatchError, InputError
from shallow2deep.features import bank_of
from shallow2deep.forests import Forest
from shallow2deep.forests.kernel import Traversal
from shallow2deep.inference.block_loop import Threads, predict_blocks
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.predictor import ArraySink, ArraySource, BlockSink
from shallow2deep.inference.windows import Overlap
from shallow2deep.io.disk_map import DiskMap
from shallow2deep.io.memory import require_memory
from shallow2deep.outputs import Output, of_forest
from shallow2deep.progress import Watch

BLOCK = {2: 512, 3: 96}  # side, pixels

_PredictBlock = Callable[[np.ndarray, Window], np.ndarray]


@dataclass(frozen=True)
class ForestPredictor:
    """A forest from raw to the classes' probabilities; the filters mirror what they lack at the border.

    Attributes:
        device: "cpu", or where torch is to compute filters and forest, such as "cuda". Forests on vigra's
            features, which count to the bit, are applied on the CPU in any case, and so are those on "mps",
            which lacks float64.
        engine: on the CPU, see `compute_features`.
    """

    forest: Forest
    device: str = "cpu"
    engine: str = "numba"

    border: Literal["clip"] = "clip"

    @property
    def halo(self) -> Sequence[int]:
        return self.forest.spec.halo

    @property
    def step(self) -> Sequence[int]:
        return (1,) * self.forest.spec.ndim

    @property
    def outputs(self) -> tuple[Output, ...]:
        return of_forest(self.forest.classes)

    @property
    def on_processor(self) -> bool:
        """Whether the compiled kernels do the work."""
        return self.device in ("cpu", "mps") or self.forest.spec.library != "fastfilters"

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        """See `Predictor`."""
        return self._predict(block, inner)

    @cached_property
    def _predict(self) -> _PredictBlock:
        if self.on_processor:
            return _on_processor(self.forest, self.engine)
        return _on_device(self.forest, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_predict"}


def learned_by(forest: Forest) -> Intensities | None:
    """The range of raw that a forest has learned on, if it is known."""
    return Intensities.from_dict(forest.record.get("raw"))


def predict_probabilities(
    forest: Forest,
    raw: np.ndarray,
    device: str = "cpu",
    engine: str = "numba",
    threads: int = 1,
    rescale: bool = False,
) -> np.ndarray:
    """Probability of each class at each pixel, block by block: memory for features is that of a block.

    Args:
        raw: `(*spatial)` or `(C, *spatial)`, finite, in the intensity range the forest was trained on.
        device, engine: see `ForestPredictor`.
        threads: on the CPU, blocks at the same time; the result is the same for any number.
        rescale: whether raw is shifted and scaled to the range that the forest has learned on; otherwise raw
            far outside is refused.

    Returns:
        float32 `(classes, *spatial)`; sums to 1; a class that was never drawn has probability 0.

    Raises:
        FeatureMismatchError: raw has not the number of axes of the forest's features.
        InputError: raw is empty, not of finite, real numbers, or far outside the range that the forest has
            learned on; or no thread was given.
    """
    _check(forest, raw)
    if learned := learned_by(forest):
        own = Intensities.of(raw, forest.spec.ndim)
        if rescale:
            raw = own.brought_to(learned, raw, forest.spec.ndim)
        else:
            own.refuse_if_far_from(learned, "raw", "the forest")
    sink = ArraySink(raw.shape[max(0, raw.ndim - forest.spec.ndim) :])
    _predict_into(sink, forest, raw, device, engine, threads)
    return sink.array


def forest_map_on_disk(
    forest: Forest,
    raw: np.ndarray,
    device: str = "cpu",
    engine: str = "numba",
    threads: int = 1,
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> DiskMap:
    """See `predict_probabilities`; with no whole map in memory, and raw of any range.

    Args:
        watch: is told how many of a large image's blocks are done.
        overlap: of windows in place of blocks.
    """
    _check(forest, raw)
    sink = DiskMap((len(forest.classes), *raw.shape[max(0, raw.ndim - forest.spec.ndim) :]))
    _predict_into(sink, forest, raw, device, engine, threads, watch, overlap)
    return sink


def _predict_into(
    sink: BlockSink,
    forest: Forest,
    raw: np.ndarray,
    device: str,
    engine: str,
    threads: int,
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> None:
    predictor = ForestPredictor(forest, device, engine)
    block = (BLOCK[forest.spec.ndim],) * forest.spec.ndim
    runner = Threads(threads) if predictor.on_processor else Threads(1)  # one keeps a GPU busy
    predict_blocks(
        predictor, ArraySource(raw), sink, block, runner, watch=watch, what="forest blocks", overlap=overlap
    )


def require_fitting(forest: Forest, raw: tuple[int, ...]) -> tuple[int, ...]:
    """The spatial shape of raw of that shape.

    Raises:
        FeatureMismatchError: raw has not the number of axes or channels of the forest's features.
    """
    spec = forest.spec
    shape = raw[len(raw) - spec.ndim :]
    if raw not in (shape, (spec.channels, *shape)) or (raw == shape and spec.channels > 1):
        raise FeatureMismatchError(
            f"raw of shape {raw} was given to a forest on {spec.ndim}D features of {spec.channels} "
            "channels; give as many axes and channels"
        )
    return shape


def _check(forest: Forest, raw: np.ndarray) -> None:
    require_fitting(forest, raw.shape)
    if raw.size == 0 or raw.dtype.kind not in "buif" or not np.isfinite(raw).all():
        raise InputError(
            f"raw of shape {raw.shape} and type {raw.dtype} was given; give real, finite numbers"
        )


def _on_processor(forest: Forest, engine: str) -> _PredictBlock:
    """From raw with its halo, and the window without, to probabilities, by the compiled kernels."""
    bank, traversal = bank_of(forest.spec, engine), Traversal(forest)
    kept = threading.local()  # each thread computes in memory of its own

    def predict(raw: np.ndarray, local: Window) -> np.ndarray:
        size = bank.room(local)
        if not hasattr(kept, "memory") or kept.memory.size < size:
            require_memory(4 * size, "the features of a block")
            kept.memory = np.empty(size, np.float32)
        return traversal.predict(bank.compute(raw, local, kept.memory))

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
