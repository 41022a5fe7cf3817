"""How well a probability map agrees with dense labels."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.errors import InputError

_STEPS = 65535  # of a histogram of probabilities


def score(
    probability: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray | None = None,
    tolerance: int = 0,
    threshold: float = 0.5,
) -> dict[str, float]:
    """Pixelwise scores of one class.

    With TP, FP, FN the pixels at `probability > threshold` that are right, wrong and missed:
    Dice = 2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN), precision = TP / (TP + FP),
    recall = TP / (TP + FN). Soft Dice = 2 sum(p t) / (sum(p^2) + sum(t^2)) needs no threshold; average
    precision is the area under the precision-recall curve. A score whose denominator is 0 is nan.

    Args:
        probability: `(*spatial)` in 0..1.
        truth: bool `(*spatial)`.
        valid: bool `(*spatial)`; pixels outside do not count.
        tolerance: pixels within this distance of the truth's boundary do not count.

    Raises:
        InputError: shapes differ, or no pixel is left to score.
    """
    from sklearn.metrics import average_precision_score  # slow to import

    counted = _counted(probability, truth, valid, tolerance)
    if not counted.any():
        raise _nothing_left()
    p, t = probability[counted].astype(np.float64), truth[counted].astype(bool)
    found = p > threshold
    counts = {"tp": _sum(found & t), "fp": _sum(found & ~t), "fn": _sum(~found & t), "pixels": t.size}
    average = float(average_precision_score(t, p)) if t.any() else float("nan")
    return _scores_of(counts, float(p[t].sum()), float((p * p).sum()), average)


def _counted(
    probability: np.ndarray, truth: np.ndarray, valid: np.ndarray | None, tolerance: int
) -> np.ndarray:
    """Which pixels count, bool `(*spatial)`."""
    for name, other in (("truth", truth), ("valid mask", valid)):
        if other is not None and other.shape != probability.shape:
            raise InputError(
                f"the prediction has shape {probability.shape} but the {name} has {other.shape}; "
                "give matching images"
            )
    counted = np.ones(truth.shape, bool) if valid is None else valid.astype(bool)
    return counted & ~_near_boundary(truth, tolerance) if tolerance else counted


def _nothing_left() -> InputError:
    return InputError("no pixel is left to score; check the valid mask and the tolerance")


def _sum(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))


def _scores_of(
    counts: Mapping[str, int], overlap: float, squares: float, average_precision: float
) -> dict[str, float]:
    tp, fp, fn = counts["tp"], counts["fp"], counts["fn"]
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "average_precision": average_precision,
        "soft_dice": _ratio(2 * overlap, squares + tp + fn),
        "pixels": counts["pixels"],
        "foreground_pixels": tp + fn,
    }


@dataclass
class PooledScore:
    """The scores over the pixels of several images together, of which one at a time is in memory.

    As `score`, but that average precision comes from a histogram of probabilities in steps of 1/65535.
    """

    threshold: float = 0.5
    _counts: Counter[str] = field(default_factory=Counter)
    _overlap: float = 0.0
    _squares: float = 0.0
    _histogram: np.ndarray = field(default_factory=lambda: np.zeros((2, _STEPS + 1), np.int64))

    def add(
        self, probability: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None, tolerance: int = 0
    ) -> None:
        """One image; arguments as of `score`, but that none of its pixels need count."""
        counted = _counted(probability, truth, valid, tolerance)
        p, t = probability[counted].astype(np.float64), truth[counted].astype(bool)
        found = p > self.threshold
        self._counts.update(tp=_sum(found & t), fp=_sum(found & ~t), fn=_sum(~found & t), pixels=t.size)
        self._overlap += float(p[t].sum())
        self._squares += float((p * p).sum())
        steps = np.rint(p.clip(0, 1) * _STEPS).astype(np.int64)
        for row, member in enumerate((~t, t)):
            self._histogram[row] += np.bincount(steps[member], minlength=_STEPS + 1)

    @property
    def scores(self) -> dict[str, float]:
        """See `score`.

        Raises:
            InputError: no pixel was left to score.
        """
        if not self._counts["pixels"]:
            raise _nothing_left()
        negatives, positives = self._histogram[:, ::-1]  # from the highest probability down
        at, recall = np.flatnonzero(negatives + positives), np.cumsum(positives)
        precision = recall[at] / np.cumsum(negatives + positives)[at]
        average = _ratio(float((precision * positives[at]).sum()), int(positives.sum()))
        return _scores_of(self._counts, self._overlap, self._squares, average)


def pooled_score(
    probabilities: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    valids: Iterable[np.ndarray] | None = None,
    tolerance: int = 0,
) -> dict[str, float]:
    """The scores over the pixels of several images together, so that empty images do no harm."""
    pooled = PooledScore()
    masks = repeat(None) if valids is None else valids
    for p, t, v in zip(probabilities, truths, masks, strict=valids is not None):
        pooled.add(p, t, v, tolerance)
    return pooled.scores


@dataclass
class DiceCounts:
    """Dice at 0.5 over the pixels of many images, of which one at a time is in memory.

    >>> counts = DiceCounts()
    >>> counts.add(np.array([0.9, 0.8, 0.2]), np.array([True, False, False]))
    >>> round(counts.dice, 3)
    0.667
    """

    both: int = 0
    either: int = 0

    def add(self, probability: np.ndarray, truth: np.ndarray) -> None:
        """`probability` `(*spatial)` in 0..1, and bool `truth` of the same shape."""
        found = probability > 0.5
        self.both += int(np.count_nonzero(found & truth))
        self.either += int(np.count_nonzero(found)) + int(np.count_nonzero(truth))

    @property
    def dice(self) -> float:
        """nan where neither has a pixel."""
        return _ratio(2 * self.both, self.either)


def _near_boundary(truth: np.ndarray, distance: int) -> np.ndarray:
    """Pixels at most `distance` from a pixel of the other class."""
    inside = ndi.distance_transform_edt(truth) if not truth.all() else np.inf
    outside = ndi.distance_transform_edt(~truth) if truth.any() else np.inf
    return np.asarray(np.where(truth, inside, outside) <= distance)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
