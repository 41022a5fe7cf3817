"""Where to paint next: the places where results differ most, away from outlines and strokes."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import peak_local_max

_APART = 24  # pixels between two places
_CLEAR = 8  # pixels between a place to paint and outlines, strokes, or the border of the image
_LESS = 0.25  # so much disagreement counts at outlines: strokes there are hard to paint, and teach little


def places_to_paint(
    maps: Sequence[np.ndarray], differing: np.ndarray, strokes: np.ndarray, most: int
) -> list[tuple[tuple[int, ...], float]]:
    """Positions, and how far results differ around each, the largest first.

    Args:
        maps: of each result float32 `(C - 1, *spatial)`; volumes are looked at plane by plane.
        differing: how far they differ, `(*spatial)`.
        strokes: 0 where nothing is painted, `(*spatial)`.
        most: how many at most.
    """
    flat = (0,) * (differing.ndim - 2)
    around = ndi.generate_binary_structure(2, 1).reshape(*(1 for _ in flat), 3, 3)
    agreed, found = ((end(list(maps), axis=0) > 0.5).any(0) for end in (np.min, np.max))
    objects = ndi.binary_propagation(
        agreed, mask=found
    )  # at least in part found by all: their outlines differ
    smooth = ndi.gaussian_filter(differing, (*flat, 4, 4))
    smooth[ndi.binary_dilation(objects, around, _CLEAR)] *= _LESS
    smooth[ndi.binary_dilation(strokes > 0, around, _CLEAR, border_value=1)] = 0
    peaks = peak_local_max(smooth, min_distance=_APART, num_peaks=most, exclude_border=False)
    return [(tuple(map(int, peak)), float(smooth[tuple(peak)])) for peak in peaks]
