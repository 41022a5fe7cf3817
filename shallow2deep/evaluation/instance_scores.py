"""How well objects agree with labelled ones, object by object."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import block_diag, csr_array
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import relabel_sequential

from shallow2deep.errors import InputError
from shallow2deep.segmentation.linking import ious, overlaps

THRESHOLDS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))


def overlap_table(found: np.ndarray, truth: np.ndarray) -> csr_array:
    """What scores are made from: the pixels that each true object (row) shares with each found one (column).

    Args:
        found, truth: whole numbers of one shape, 0 background; every other value is an object.

    Raises:
        InputError: shapes differ.
    """
    if found.shape != truth.shape:
        raise InputError(
            f"the objects have shape {found.shape} but the labels {truth.shape}; give matching images"
        )
    return overlaps(_numbered(truth), _numbered(found))


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Without gaps, as tables have a row for each number up to the largest."""
    return relabel_sequential(labels.astype(np.int64))[0]


def instance_scores(tables: Sequence[csr_array]) -> dict[str, float]:
    """Scores of one image, or of the objects of several together.

    With TP the pairs of a true and a found object whose IoU is above a threshold (from 0.5 on no object is in
    two), FP the other found and FN the other true objects: average precision at the threshold is
    TP / (TP + FP + FN), and `average_precision` its mean over 0.5, 0.55 … 0.95 (Data Science Bowl 2018). At
    0.5 also precision, recall, and `matched_dice`: the sum of the pairs' Dice over TP + (FP + FN) / 2, which
    is panoptic quality with Dice in place of IoU.

    Within the true objects alone, as in CREMI and SNEMI3D: variation of information in bits, its parts
    `vi_split` and `vi_merge` (true objects in pieces, and several in one), and the adapted Rand error.

    Args:
        tables: of each image, see `overlap_table`.

    Returns:
        A score whose denominator is 0 is nan.
    """
    counts = {threshold: [0, 0, 0] for threshold in THRESHOLDS}
    dice = 0.0
    for table in tables:
        n_true, n_found = table.shape[0] - 1, table.shape[1] - 1
        values = ious(table)[2]
        for threshold, total in counts.items():
            tp = int(np.count_nonzero(values > threshold))
            total[:] = np.add(total, (tp, n_found - tp, n_true - tp)).tolist()
        matched = values[values > THRESHOLDS[0]]
        dice += float((2 * matched / (1 + matched)).sum())
    precisions = [_ratio(tp, tp + fp + fn) for tp, fp, fn in counts.values()]
    tp, fp, fn = counts[THRESHOLDS[0]]
    return {
        "ap_50": precisions[0],
        "ap_75": precisions[THRESHOLDS.index(0.75)],
        "average_precision": float(np.mean(precisions)),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "matched_dice": _ratio(dice, tp + (fp + fn) / 2),
        **_partition_scores(tables),
        "objects": tp + fp,
        "true_objects": tp + fn,
    }


def _partition_scores(tables: Iterable[csr_array]) -> dict[str, float]:
    inside = csr_array(block_diag([table[1:] for table in tables]))  # an image's background is its own
    inside.eliminate_zeros()
    if not inside.sum():
        return dict.fromkeys(("vi", "vi_split", "vi_merge", "adapted_rand_error"), float("nan"))
    none = np.zeros(0, int)  # images that it compares although it takes the table
    split, merge = variation_of_information(none, none, table=inside / inside.sum())
    # pairs of pixels: there are none where every object is one pixel
    pairs = (inside.sum(axis=0) > 1).any() or (inside.sum(axis=1) > 1).any()
    error = adapted_rand_error(table=inside)[0] if pairs else float("nan")
    return {
        "vi": float(split + merge),
        "vi_split": float(split),
        "vi_merge": float(merge),
        "adapted_rand_error": float(error),
    }


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
