"""The range of raw that a forest or a network has learned on, and how far other raw lies outside.

Filters and networks see grey values as they are: raw of another type or gain gives maps that are wrong
altogether, and nothing in a map tells so.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from shallow2deep.errors import InputError

log = logging.getLogger(__name__)

_QUANTILES = (0.01, 0.5, 0.99)
_SAMPLES = 2**18  # values of a channel that quantiles are taken from
# beyond these factors a spread is of another gain, and a median beyond so many spreads of another offset;
# images of one experiment differ, so for the same type they are wider
_GAIN = {"same type": 12.0, "another type": 8.0}
_OFFSET = {"same type": 3.0, "another type": 1.0}
_NEAR = 3.0  # a spread that differs by no more needs no word


@dataclass(frozen=True)
class Intensities:
    """What values raw has.

    Attributes:
        dtype: such as "uint8".
        channels: of each channel the quantiles 0.01, 0.5 and 0.99.
    """

    dtype: str
    channels: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, raw: np.ndarray, ndim: int) -> Self:
        """Of raw `([C,] *spatial)` with `ndim` spatial axes; of large images, of evenly spaced pixels."""
        rows = raw.reshape(raw.shape[0] if raw.ndim > ndim else 1, -1)
        rows = rows[:, :: cls.spacing(rows.shape[1])]
        low, middle, high = np.quantile(rows.astype(np.float64), _QUANTILES, axis=1)
        found = zip(low.tolist(), middle.tolist(), high.tolist(), strict=True)
        return cls(raw.dtype.name, tuple(found))

    @staticmethod
    def spacing(pixels: int) -> int:
        """Of how many pixels of a channel one is looked at."""
        return max(1, pixels // _SAMPLES)

    @classmethod
    def together(cls, several: Sequence[Self]) -> Self:
        """The range of several images: from the lowest to the highest, about the median of the medians."""
        each = np.array([one.channels for one in several])
        ends = zip(each[..., 0].min(0), np.median(each[..., 1], 0), each[..., 2].max(0), strict=True)
        channels = tuple((float(low), float(middle), float(high)) for low, middle, high in ends)
        return cls(several[0].dtype, channels)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Self | None:
        """None for what is no such record: of an older model, or of another program's."""
        if not isinstance(values, Mapping) or not isinstance(values.get("channels"), list | tuple):
            return None
        try:
            found = tuple(
                (float(low), float(middle), float(high)) for low, middle, high in values["channels"]
            )
        except (TypeError, ValueError):
            return None
        return cls(str(values.get("dtype")), found) if found and np.isfinite(found).all() else None

    @property
    def text(self) -> str:
        """For a sentence, such as "30 to 220 (uint8)"."""
        low, high = min(c[0] for c in self.channels), max(c[2] for c in self.channels)
        return f"{low:.4g} to {high:.4g} ({self.dtype})"

    def is_far_from(self, learned: Self) -> bool:
        """Whether a map of raw like this says nothing: it has another type's range, or another gain."""
        return any(
            self._far(own, other, learned.dtype)
            for own, other in zip(self.channels, learned.channels, strict=False)
        )

    def differs_from(self, learned: Self) -> bool:
        """Whether raw like this is so much darker, brighter, flatter or sharper that it should be said."""
        pairs = zip(self.channels, learned.channels, strict=False)
        return any(
            not other[0] <= own[1] <= other[2] or not 1 / _NEAR <= _spread(own) / _spread(other) <= _NEAR
            for own, other in pairs
        )

    def _far(self, own: Sequence[float], other: Sequence[float], dtype: str) -> bool:
        spread = _spread(other)
        ratio = _spread(own) / spread
        outside = max(other[0] - own[1], own[1] - other[2])
        kind = "same type" if self.dtype == dtype else "another type"
        too_flat = kind == "another type" and ratio < 1 / _GAIN[kind]
        return too_flat or ratio > _GAIN[kind] or outside > _OFFSET[kind] * spread

    def refuse_if_far_from(self, learned: Self, name: str, what: str) -> None:
        """Raises InputError, naming the ranges and the cure, if `is_far_from`."""
        if self.is_far_from(learned):
            raise InputError(
                f"{name}: its values are {self.text}, but {what} has learned on {learned.text}, and would "
                f"give a wrong map; bring the image to that range, or have it done by rescale"
            )

    def brought_to(self, learned: Self, raw: np.ndarray, ndim: int) -> np.ndarray:
        """Raw like this, shifted and scaled so that its quantiles are those learned on; float32."""
        out = raw.astype(np.float32)
        channels = out.reshape(-1, *raw.shape[raw.ndim - ndim :])
        for c, own, other in zip(channels, self.channels, learned.channels, strict=True):
            c -= own[0]
            c *= _spread(other) / _spread(own)
            c += other[0]
        return out


def compare_with_learned(
    found: Sequence[tuple[str, Intensities]],
    learned: Intensities,
    what: str,
    advice: str = "",
) -> None:
    """Refuses images whose values are far from those learned on, and tells of those that differ.

    Args:
        found: names and ranges of images, or of parts of them.
        what: has learned, such as "the forest".
        advice: what may help against slight differences.

    Raises:
        InputError: naming the image, and both ranges.
    """
    for name, one in found:
        one.refuse_if_far_from(learned, name, what)
    other = dict.fromkeys(name for name, one in found if one.differs_from(learned))
    if other:
        log.warning(
            "%d of %d images differ in brightness or contrast from those learned on (%s): %.200s%s",
            len(other), len(dict(found)), learned.text, ", ".join(other), advice,
        )  # fmt: skip


def _spread(quantiles: Sequence[float]) -> float:
    return max(quantiles[2] - quantiles[0], 1e-9)
