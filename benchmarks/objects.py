"""What the steps from a map to objects cost, and what other packages for them would bring.

    pip install connected-components-3d edt && python benchmarks/objects.py

Ratios are medians over rounds that run both in turn, on one thread.
"""

from collections.abc import Callable

import cc3d
import edt
import numpy as np
from common import machine, median_ratio, seconds
from scipy import ndimage as ndi
from skimage.measure import label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from shallow2deep.segmentation.instances import instances, parted

ROUNDS = 3


def compared(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Seconds of ours, and how many times as long they take as the other."""
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    one, other = zip(*times, strict=True)
    return float(np.median(one)), median_ratio(one, other)


def by_h_maxima(mask: np.ndarray) -> np.ndarray:
    """What `parted` does, by scikit-image's reconstruction."""
    distance = ndi.distance_transform_edt(mask)
    return watershed(-distance, label(h_maxima(distance, 1.0)), mask=mask)


def main() -> None:
    print(f"{machine()}\n\n| image | step | seconds | beside | times as long |\n|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for shape in ((1024, 1024), (48, 192, 192)):
        smooth = ndi.gaussian_filter(rng.normal(size=shape), 4)
        p = (smooth > np.quantile(smooth, 0.7)).astype(np.float32)
        mask = p > 0.5
        faces = 2 * mask.ndim
        rows = {
            ("distance", "edt"): (
                lambda m=mask: ndi.distance_transform_edt(m),
                lambda m=mask: edt.edt(m, parallel=1),
            ),
            ("connected parts", "connected-components-3d"): (
                lambda m=mask: label(m, connectivity=1),
                lambda m=mask, n=faces: cc3d.connected_components(m, connectivity=n),
            ),
            ("parting", "scikit-image's h_maxima"): (
                lambda m=mask: parted(m, m, None, 1.0),
                lambda m=mask: by_h_maxima(m),
            ),
            ("all, from map to labels", "its distance by edt alone"): (
                lambda q=p: instances(q),
                lambda m=mask: edt.edt(m, parallel=1),
            ),
        }
        for (step, other), (ours, theirs) in rows.items():
            took, ratio = compared(ours, theirs)
            print(
                f"| {'x'.join(map(str, shape))} | {step} | {took:.2f} | {other} | {ratio:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
