"""What has to be known of images before work starts, found in one reading and remembered after."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.moments import Moments
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume, check_values

_MANY = 256  # different values of labels


@dataclass(frozen=True)
class RawFacts:
    """Of raw or of a probability map.

    Attributes:
        fingerprint: see `Volume.fingerprint`.
        low, high: of the values, which are finite.
        sums: number of values, their sum, and the sum of their squares.
        mean, deviation: as numpy tells them of the whole array.
        intensities: the range of its values; of a large volume, of its first part.
    """

    fingerprint: str
    low: float
    high: float
    sums: tuple[int, float, float]
    mean: float
    deviation: float
    intensities: Intensities

    @classmethod
    def of(cls, volume: Volume, known: Known) -> Self:
        """Raises InputError for a value that is NaN or infinite."""
        values = known.fact(volume.file, f"raw values {volume.identity}", lambda: _raw_facts(volume))
        intensities = Intensities.from_dict(values["intensities"])
        assert intensities is not None, "facts of finite values"
        return cls(**{**values, "sums": tuple(values["sums"]), "intensities": intensities})

    @property
    def moments(self) -> Moments:
        return Moments.of_facts(self.mean, self.deviation)


def _raw_facts(volume: Volume) -> dict[str, Any]:
    digest = volume.digest()
    ends: list[float] = []
    count, total, squares, parts = 0, 0.0, 0.0, 0
    mean = deviation = 0.0
    intensities: Intensities | None = None
    for window, part in volume.slabs():
        if part.dtype.kind == "f":
            check_values(volume, window, part)
        digest.update(volume.portable(part).data)
        ends += [float(part.min()), float(part.max())]
        intensities = intensities or Intensities.of(part, volume.ndim)
        exact = part.astype(np.float64)
        count, total = count + part.size, total + exact.sum()
        squares += np.square(exact, out=exact).sum()
        del exact  # of a slab in 8 bits it has eight times the size, and so has what numpy makes for `std`
        mean, deviation, parts = float(part.mean()), float(part.std()), parts + 1
    if parts > 1:
        both = Moments.of_sums([(count, total, squares)])
        mean, deviation = both.mean, both.deviation
    assert intensities is not None, "a volume without values"
    return {
        "fingerprint": digest.hexdigest(),
        "low": min(ends),
        "high": max(ends),
        "intensities": intensities.to_dict(),
        "sums": [count, float(total), float(squares)],
        "mean": mean,
        "deviation": deviation,
    }


def intensities_of(volume: Volume) -> Intensities:
    """As `Intensities.of` the whole, a part of the volume at a time."""
    channels = [volume.channel(n) for n in range(volume.shape[0])] if "c" in volume.axes else [volume]
    step = Intensities.spacing(math.prod(volume.spatial_shape))
    rows = []
    for one in channels:
        found, before = list[np.ndarray](), 0
        for _, part in one.slabs():
            found.append(part.ravel()[-before % step :: step].copy())
            before += part.size
        rows.append(np.concatenate(found))
    return Intensities.of(np.stack(rows), 1)


@dataclass(frozen=True)
class LabelFacts:
    """Of labels or strokes.

    Attributes:
        fingerprint: see `Volume.fingerprint`.
        low, high: of the values.
        whole: whether all are whole numbers.
        counts: number of pixels of each value; of some values only, if there are very many.
    """

    fingerprint: str
    low: float
    high: float
    whole: bool
    counts: dict[int | float, int]

    @classmethod
    def of(cls, volume: Volume, known: Known) -> Self:
        values = known.fact(volume.file, f"labels {volume.identity}", lambda: label_facts(volume))
        counts = dict(values["counts"])
        return cls(**{**values, "counts": counts})


def label_facts(volume: Volume) -> dict[str, Any]:
    """The JSON-able fields of `LabelFacts`."""
    digest = volume.digest()
    counts: dict[Any, int] = {}
    whole = True
    for _, part in volume.slabs():
        digest.update(volume.portable(part).data)
        plain = part.astype(np.uint8) if part.dtype.kind == "b" else part
        values, numbers = np.unique(plain, return_counts=True)
        whole = whole and (values.dtype.kind != "f" or bool(np.array_equal(values, np.round(values))))
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    finite = [value for value in counts if value == value]
    return {
        "fingerprint": digest.hexdigest(),
        "low": min(finite, default=0),
        "high": max(finite, default=0),
        "whole": whole,
        "counts": [[value, counts[value]] for value in sorted(finite)[:_MANY]],
    }


def text_fingerprint(*parts: object) -> str:
    """One for several fingerprints or plain values together."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
