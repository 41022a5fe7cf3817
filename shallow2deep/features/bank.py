"""What computes features, of whatever kind, and which there are."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np

from shallow2deep.blocks import Window


class Bank(Protocol):
    """Computes the features that a spec describes.

    Attributes:
        ndim: spatial axes of the images.
        channels: of the images.
        names: of the features, in their order.
        halo: pixels per spatial axis beyond which nothing changes a feature.
    """

    @property
    def ndim(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def halo(self) -> tuple[int, ...]: ...

    def room(self, inner: Window) -> int:
        """How many float32 `compute` can use as `out` for a window of this size."""
        ...

    def compute(
        self, raw: np.ndarray, inner: Window | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Features float32 `(F, *inner)` of raw `([C,] *spatial)`.

        Args:
            inner: over the spatial axes, the window whose features are wanted; all if None.
            out: float32 memory to compute in, as new memory costs as much as filters do.
        """
        ...


_BANKS: dict[type, Callable[[Any, str], Bank]] = {}


def register(spec: type, bank: Callable[[Any, str], Bank]) -> None:
    """Makes `bank(spec, engine)` what computes the features that specs of this type describe."""
    _BANKS[spec] = bank


def bank_of(spec: Hashable, engine: str = "numba") -> Bank:
    """The bank for a spec; its type must have been registered."""
    return _BANKS[type(spec)](spec, engine)
