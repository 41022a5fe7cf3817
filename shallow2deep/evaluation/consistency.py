"""How little a result changes under noise and flips: a measure without labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_DEPTH = 16  # planes of a volume
_VIEW = 512  # pixels: side of the part of an image that is looked at
_NOISE = 0.1  # deviations of raw


@dataclass
class Consistency:
    """Overlap of the maps of views with those of the same views, flipped and with noise.

    2 sum(min(p, q)) / (sum(p) + sum(q)) over views and foreground classes.
    """

    shared: float = 0.0
    total: float = 0.0

    def add(self, predict: Callable[[np.ndarray], np.ndarray], view: np.ndarray, other: np.ndarray) -> None:
        """One view.

        Args:
            predict: from raw `([C,] *spatial)` to the foreground classes' maps `(K, *spatial)`.
            view, other: see `changed_view`.
        """
        p = predict(view)
        q = np.flip(predict(other), (-2, -1))
        self.shared += 2 * float(np.minimum(p, q).sum())
        self.total += float(p.sum() + q.sum())

    @property
    def value(self) -> float:
        return self.shared / self.total if self.total else 1.0


def changed_view(raw: np.ndarray, ndim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The middle of an image `([C,] *spatial)`, as it is, and flipped and with noise; of the image's type.

    Of another type, an image that is flatter than others of the same run would be taken for a foreign one.
    """
    raw = raw.astype(np.uint8) if raw.dtype.kind == "b" else raw
    view = raw[_middle(raw.shape, (_DEPTH, _VIEW, _VIEW)[-ndim:])]
    noise = rng.standard_normal(view.shape, np.float32)
    other = np.flip(view + _NOISE * raw.std(dtype=np.float32) * noise, (-2, -1))
    if raw.dtype.kind in "ui":
        limits = np.iinfo(raw.dtype)
        other = np.rint(other).clip(limits.min, limits.max)
    return view, np.ascontiguousarray(other, raw.dtype)


def _middle(shape: Sequence[int], sides: Sequence[int]) -> tuple[slice, ...]:
    """The middle of the last axes, of at most `sides` pixels; all of the axes before."""
    spatial = shape[len(shape) - len(sides) :]
    starts = [max(0, (n - side) // 2) for n, side in zip(spatial, sides, strict=True)]
    window = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return (*[slice(None)] * (len(shape) - len(sides)), *window)
