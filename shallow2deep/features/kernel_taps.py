"""The weights of the filters' kernels."""

import numpy as np

from shallow2deep.features.spec import kernel_radius


def half_kernel(sigma: float, order: int, window: float) -> np.ndarray:
    """Right half of a kernel, from its centre, as fastfilters makes it; float64 `(radius + 1,)`.

    Order 0 sums to 1; order 1 gives 1 on a ramp of slope 1; order 2 gives 0 on a constant and 1 on x²/2.
    """
    radius = kernel_radius(sigma, window)
    if radius == 0 and order > 0:
        return np.zeros(1)  # no room for a derivative
    x = np.arange(radius + 1, dtype=np.float64)
    weight = np.where(x == 0, 1.0, 2.0)  # how often each entry stands in the whole kernel
    gauss = np.exp(-(x**2) / (2 * sigma**2))
    if order == 0:
        return gauss / (weight * gauss).sum()
    if order == 1:
        return x * gauss / (weight * x**2 * gauss).sum()
    curve = (x**2 / sigma**2 - 1) * gauss
    curve -= (weight * curve).sum() / weight.sum()
    return curve / (weight * curve * x**2 / 2).sum()
