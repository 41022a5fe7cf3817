"""The filter bank with the arithmetic of vigra, by which ilastik computed its features up to version 1.2.

vigra convolves along the last axis first and rounds to float32 after each. It smooths in float64, but takes
derivatives with kernels and sums in float32, from one end of a kernel to the other. Following it to the bit
counts where raw is bright and hardly varies: there a forest's thresholds lie within float32's rounding.
"""

import math
from functools import cache, partial, reduce
from itertools import combinations_with_replacement

import numpy as np
from numba import njit

from shallow2deep.features.spec import PRESMOOTHING_WINDOW, WINDOW, Filter, Part, kernel_radius


def fill_as_vigra(image: np.ndarray, part: Part, out: np.ndarray) -> None:
    """Writes the features of a float32 image into `out` `(F, *spatial)`."""
    presmoothed = cache(partial(_smoothed, image, window=PRESMOOTHING_WINDOW))
    for one, start, size in zip(part.filters, part.starts, part.sizes, strict=True):
        out[start : start + size] = _apply(presmoothed(one.presmoothing), one)


def _apply(image: np.ndarray, one: Filter) -> np.ndarray:
    """The features of a presmoothed image, `(*spatial)` or `(size, *spatial)`."""
    sigma, axes = one.sigmas[0], range(image.ndim)[::-1]
    match one.name:
        case "GaussianSmoothing":
            return _smoothed(image, sigma)
        case "DifferenceOfGaussians":
            return _smoothed(image, sigma) - _smoothed(image, one.sigmas[1])
        case "LaplacianOfGaussian":
            return reduce(np.add, [_derivative(image, sigma, a, a) for a in axes])
        case "GaussianGradientMagnitude":
            return np.sqrt(reduce(np.add, [_derivative(image, sigma, a) ** 2 for a in reversed(axes)]))
    pairs = list(combinations_with_replacement(axes, 2))
    if one.name == "HessianOfGaussianEigenvalues":
        return _eigenvalues([_derivative(image, sigma, *pair) for pair in pairs])
    gradient = {a: _derivative(image, sigma, a) for a in axes}
    products = [gradient[a] * gradient[b] for a, b in pairs]
    return _eigenvalues([_smoothed(product, one.sigmas[1], total=np.float32) for product in products])


def _smoothed(
    image: np.ndarray, sigma: float, window: float = WINDOW, total: type[np.floating] = np.float64
) -> np.ndarray:
    x = np.arange(-_radius(sigma, window), _radius(sigma, window) + 1)
    kernel = np.exp(-(x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in range(image.ndim)[::-1]:
        image = _along(image, kernel, axis, total)
    return image


def _radius(sigma: float, window: float) -> int:
    return max(kernel_radius(sigma, window), 1)


def _derivative(image: np.ndarray, sigma: float, *along: int) -> np.ndarray:
    """The Gaussian derivative of first order along each axis that is named, of second if named twice."""
    for axis in range(image.ndim)[::-1]:
        image = _along(image, _float_kernel(sigma, along.count(axis)), axis, np.float32)
    return image


def _along(image: np.ndarray, kernel: np.ndarray, axis: int, total: type[np.floating]) -> np.ndarray:
    """Convolved along an axis, float32; products have the kernel's precision, sums that of `total`."""
    reach, step = len(kernel) // 2, math.prod(image.shape[axis + 1 :])
    margins = [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)]
    size = image.shape[axis] * step
    lines = np.pad(image, margins, mode="reflect").reshape(-1, size + 2 * reach * step)
    out = np.empty((len(lines), size), np.float32)
    _weighted_sums(lines, kernel, step, np.empty(2048, total), out)
    return out.reshape(image.shape)


@njit(cache=True, nogil=True)  # no fused multiply-add: it rounds once where vigra rounds twice
def _weighted_sums(lines, kernel, step, total, out):  # type: ignore[no-untyped-def]
    """out[i, m] = the sum over n of kernel[-1 - n] * lines[i, m + n * step], added up in `total`."""
    for i in range(len(out)):
        for first in range(0, out.shape[1], total.size):
            size = min(total.size, out.shape[1] - first)
            total[:] = 0
            for n in range(kernel.size):
                weight, start = kernel[kernel.size - 1 - n], first + n * step
                source = lines[i, start : start + size]
                for m in range(size):
                    total[m] += total.dtype.type(weight * source[m])
            for m in range(size):
                out[i, first + m] = total[m]


@cache
def _float_kernel(sigma: float, order: int) -> np.ndarray:
    """A whole kernel as vigra's `Kernel1D<float>` makes it, which rounds after each step."""
    radius = _radius(sigma, WINDOW)
    x = np.arange(-radius, radius + 1, dtype=np.float32)
    width = float(np.float32(sigma))
    cube = float(np.float32(width * width)) * width
    height = 1 / (math.sqrt(2 * math.pi) * width) if order == 0 else -1 / (math.sqrt(2 * math.pi) * cube)
    exponent = x * x * np.float32(-0.5 / width / width)
    kernel = np.float32(height) * np.exp(exponent.astype(np.float64)).astype(np.float32)
    if order == 1:
        kernel *= x
    if order == 2:
        ratio = x / np.float32(width)
        kernel = ((1 - (ratio * ratio).astype(np.float64)) * kernel).astype(np.float32)
    if order > 0:
        kernel -= np.float32(np.cumsum(kernel)[-1] / (2 * radius + 1.0))
    moments = kernel * (-x.astype(np.float64)) ** order / max(order, 1)
    total = reduce(lambda sum_, moment: np.float32(sum_ + moment), moments, np.float32(0))
    return kernel * (np.float32(1) / total)


def _eigenvalues(matrix: list[np.ndarray]) -> np.ndarray:
    """Descending eigenvalues of symmetric matrices, which are given by their upper triangles row by row.

    As vigra's `symmetric2x2Eigenvalues` and `symmetric3x3Eigenvalues`, of which some terms are in float32.
    """
    if len(matrix) == 3:
        xx, xy, yy = matrix
        root = np.hypot((xx - yy).astype(np.float64), 2 * xy)
        return np.stack([0.5 * (xx + yy + root), 0.5 * (xx + yy - root)])
    xx, xy, xz, yy, yz, zz = matrix
    two = np.float64(2)
    det = xx * yy * zz + two * xy * xz * yz - xx * yz * yz - yy * xz * xz - zz * xy * xy
    minors = (xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz).astype(np.float64)
    trace = (xx + yy + zz).astype(np.float64)
    mean = trace * (1 / 3)
    a = np.minimum((minors - trace * mean) * (1 / 3), 0)
    b = 0.5 * (det + mean * (two * mean * mean - minors))
    magnitude = np.sqrt(-a)
    angle = np.arctan2(np.sqrt(-np.minimum(b * b + a * a * a, 0)), b) * (1 / 3)
    cos, sin = np.cos(angle), math.sqrt(3) * np.sin(angle)
    roots = [mean + 2 * magnitude * cos, mean - magnitude * (cos + sin), mean - magnitude * (cos - sin)]
    return -np.sort(-np.stack(roots), axis=0)
