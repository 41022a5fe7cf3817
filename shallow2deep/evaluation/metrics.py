"""How well a probability map agrees with dense labels."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi
from sklearn.metrics import average_precision_score

from shallow2deep.errors import InputError


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
    for name, other in (("truth", truth), ("valid mask", valid)):
        if other is not None and other.shape != probability.shape:
            raise InputError(
                f"the prediction has shape {probability.shape} but the {name} has {other.shape}; "
                "give matching images"
            )
    counted = np.ones(truth.shape, bool) if valid is None else valid.astype(bool)
    if tolerance:
        counted = counted & ~_near_boundary(truth, tolerance)
    if not counted.any():
        raise InputError("no pixel is left to score; check the valid mask and the tolerance")
    p, t = probability[counted].astype(np.float64), truth[counted].astype(bool)
    found = p > threshold
    tp, fp, fn = (int(np.count_nonzero(x)) for x in (found & t, found & ~t, ~found & t))
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "average_precision": float(average_precision_score(t, p)) if t.any() else float("nan"),
        "soft_dice": _ratio(2 * float(p[t].sum()), float((p * p).sum()) + tp + fn),
        "pixels": int(t.size),
        "foreground_pixels": tp + fn,
    }


def pooled_score(
    probabilities: list[np.ndarray],
    truths: list[np.ndarray],
    valids: list[np.ndarray] | None = None,
    tolerance: int = 0,
) -> dict[str, float]:
    """The scores over the pixels of several images together, so that empty images do no harm."""
    if tolerance:
        near = [~_near_boundary(t, tolerance) for t in truths]
        valids = near if valids is None else [v.astype(bool) & n for v, n in zip(valids, near, strict=True)]
    return score(
        np.concatenate([p.ravel() for p in probabilities]),
        np.concatenate([t.ravel() for t in truths]),
        None if valids is None else np.concatenate([v.ravel() for v in valids]),
    )


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
