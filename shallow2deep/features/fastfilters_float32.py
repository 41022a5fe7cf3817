"""The filter bank in 3D with the arithmetic of fastfilters, by which ilastik computes features since 1.3.

fastfilters solves for eigenvalues in float32. Where two of them are close, rounding decides: at large scales
they differ from the exact ones by up to a tenth of their range, and the forests of ilastik have learned on
them. As that magnifies any rounding before, all of the arithmetic is followed to the bit: kernels in float32,
normalised in float64; x before y before z; from a kernel's centre outwards, by fused multiply-adds.
"""

import math
from collections.abc import Callable
from functools import cache, reduce
from itertools import combinations_with_replacement

import numpy as np
from numba import njit

from shallow2deep.blocks import Window
from shallow2deep.features.spec import PRESMOOTHING_WINDOW, WINDOW, Filter, Part, kernel_radius
from shallow2deep.io.memory import require_memory

_AXES = range(3)
_PAIRS = list(combinations_with_replacement(_AXES, 2))
_TEMPORARY = 30  # images of the size of a region, at most, that are kept while its filters work
_Convolved = Callable[..., np.ndarray]


def fill_as_fastfilters(
    image: np.ndarray, part: Part, region: Window, out: np.ndarray, fused_along_x: bool = True
) -> None:
    """Writes the features of a region of a float32 image `(z, y, x)` into `out` `(F, *region)`.

    Args:
        fused_along_x: whether multiply-adds along x are fused, too, as in what ilastik predicted on a Mac.
            With AVX2 fastfilters does not fuse them in 3D, so that ilastik itself predicts otherwise there.
    """
    require_memory(4 * _TEMPORARY * math.prod(out.shape[1:]), "the filters of a block")
    places = list(zip(part.filters, part.starts, part.sizes, strict=True))
    for presmoothing in dict.fromkeys(one.presmoothing for one in part.filters):
        whole = _convolver(image, PRESMOOTHING_WINDOW, fused_along_x)(presmoothing)
        smoothed = np.ascontiguousarray(whole[region])
        convolved = _convolver(smoothed, WINDOW, fused_along_x)
        for one, start, size in places:
            if one.presmoothing == presmoothing:
                out[start : start + size] = _apply(convolved, one, fused_along_x)


def _convolver(image: np.ndarray, window: float, fused_along_x: bool) -> _Convolved:
    """What gives the Gaussian of a sigma, derived along the axes that are named; each pass is made once."""

    @cache
    def passed(sigma: float, *orders: int) -> np.ndarray:
        """With kernels of these orders along the last axes."""
        if not orders:
            return image
        axis = image.ndim - len(orders)
        fused = fused_along_x or axis < image.ndim - 1
        return _along(passed(sigma, *orders[1:]), sigma, orders[0], window, axis, fused)

    return lambda sigma, *along: passed(sigma, *(along.count(axis) for axis in _AXES))


def _apply(convolved: _Convolved, one: Filter, fused_along_x: bool) -> np.ndarray:
    """The features of a presmoothed image, `(*spatial)` or `(size, *spatial)`."""
    sigma = one.sigmas[0]
    match one.name:
        case "GaussianSmoothing":
            return convolved(sigma)
        case "DifferenceOfGaussians":
            return convolved(sigma) - convolved(one.sigmas[1])
        case "LaplacianOfGaussian":
            return reduce(np.add, [convolved(sigma, a, a) for a in reversed(_AXES)])
        case "GaussianGradientMagnitude":
            return np.sqrt(reduce(np.add, [convolved(sigma, a) ** 2 for a in reversed(_AXES)]))
        case "HessianOfGaussianEigenvalues":
            return _eigenvalues([convolved(sigma, *pair) for pair in _PAIRS])
    products = (convolved(sigma, a) * convolved(sigma, b) for a, b in _PAIRS)
    return _eigenvalues([_convolver(p, WINDOW, fused_along_x)(one.sigmas[1]) for p in products])


def _half_kernel(sigma: float, order: int, window: float) -> np.ndarray:
    """As `kernel_taps.half_kernel`, but float32, and rounded so before it is normalised."""
    radius = kernel_radius(sigma, window)
    if radius == 0 and order > 0:
        return np.zeros(1, np.float32)
    x = np.arange(radius + 1, dtype=np.float64)
    weight = np.where(x == 0, 1.0, 2.0)
    gauss = np.exp(-(x**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    shape = (np.ones_like(x), -x / sigma**2, ((x / sigma) ** 2 - 1) / sigma**2)[order]
    kernel = (shape * gauss).astype(np.float32).astype(np.float64)
    if order == 2:
        kernel = (kernel - (weight * kernel).sum() / weight.sum()).astype(np.float32).astype(np.float64)
    moment = (weight * kernel * (np.ones_like(x), x, x**2 / 2)[order]).sum()
    return (kernel / moment).astype(np.float32)


def _along(image: np.ndarray, sigma: float, order: int, window: float, axis: int, fused: bool) -> np.ndarray:
    """Convolved along an axis, float32."""
    half = _half_kernel(sigma, order, window)
    reach, step = len(half) - 1, math.prod(image.shape[axis + 1 :])
    margins = [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)]
    size = image.shape[axis] * step
    lines = np.pad(image, margins, mode="reflect").reshape(-1, size + 2 * reach * step)
    out = np.empty((len(lines), size), np.float32)
    # a product of float32 is exact in float64, so that the sum is rounded once, as if fused
    precision = np.float64 if fused else np.float32
    _weighted_sums(lines, half.astype(precision), np.float32(-1 if order == 1 else 1), step, out)
    return out.reshape(image.shape)


@njit(cache=True, nogil=True)
def _weighted_sums(lines, half, sign, step, out):  # type: ignore[no-untyped-def]
    """out[i, m] = half[0] a(0) + the sum over n of half[n] (a(n) + sign a(-n)), with a(n) n steps from m."""
    piece, reach = 2048, half.size - 1
    for i in range(len(out)):
        for first in range(0, out.shape[1], piece):
            total = out[i, first : first + piece]
            start = first + reach * step
            centre = lines[i, start : start + total.size]
            for m in range(total.size):
                total[m] = half[0] * centre[m]
            for n in range(1, half.size):
                weight = half[n]
                before = lines[i, start - n * step : start - n * step + total.size]
                behind = lines[i, start + n * step : start + n * step + total.size]
                for m in range(total.size):
                    pair = behind[m] + sign * before[m]
                    total[m] = weight * pair + total[m]


def _eigenvalues(matrix: list[np.ndarray]) -> np.ndarray:
    """Descending eigenvalues of symmetric matrices, given by zz, zy, zx, yy, yx, xx; `(3, *spatial)`."""
    out = np.empty((3, *matrix[0].shape), np.float32)
    zz, zy, zx, yy, yx, xx = (one.reshape(-1) for one in matrix)
    _solve(zz, zy, zx, yy, yx, xx, out.reshape(3, -1))
    return out


_THIRD, _ROOT_OF_3 = np.float32(1 / 3), np.sqrt(np.float32(3))
_HALF, _ONE, _TWO, _ZERO = np.float32(0.5), np.float32(1), np.float32(2), np.float32(0)
_HALF_PI, _FOUR_BY_PI = np.float32(math.pi / 2), np.float32(4 / math.pi)
# of SLEEF's atan2f, and of sinf and cosf in Cephes, with pi / 4 in three parts
_ATAN = tuple(
    np.float32(c)
    for c in (
        0.00282363896258175373077393,
        -0.0159569028764963150024414,
        0.0425049886107444763183594,
        -0.0748900920152664184570312,
        0.106347933411598205566406,
        -0.142027363181114196777344,
        0.199926957488059997558594,
        -0.333331018686294555664062,
    )
)
_SIN = tuple(np.float32(c) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
_COS = tuple(np.float32(c) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))
_PARTS = tuple(np.float32(c) for c in (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8))


@njit(cache=True, nogil=True, error_model="numpy")  # nothing is fused here
def _solve(zz, zy, zx, yy, yx, xx, out):  # type: ignore[no-untyped-def]
    """By the roots of the characteristic polynomial, of the matrix divided by its largest entry."""
    for n in range(zz.size):
        a, b, c, d, e, f = zz[n], yy[n], xx[n], zy[n], zx[n], yx[n]
        size = max(max(max(abs(a), abs(b)), max(abs(c), abs(d))), max(abs(e), abs(f)))
        size = size if size != _ZERO else _ONE
        a, b, c, d, e, f = a / size, b / size, c / size, d / size, e / size, f / size
        det = a * b * c + _TWO * d * e * f - a * f * f - b * e * e - c * d * d
        minors = a * b - d * d + a * c - e * e + b * c - f * f
        trace = a + b + c
        mean = trace * _THIRD
        p = min((minors - trace * mean) * _THIRD, _ZERO)
        q = _HALF * (det + mean * (_TWO * mean * mean - minors))
        magnitude = np.sqrt(-p)
        y, angle = np.sqrt(-min(q * q + p * p * p, _ZERO)), _ZERO

        # atan2(y, q) / 3
        x = abs(q)
        steep, behind = x < y, q < _ZERO
        whole = x if x > y else y
        t = (-x if steep else y) / (whole if whole > _ZERO else _ONE)
        s = t * t
        u = _ATAN[0] * s + _ATAN[1]
        u = u * s + _ATAN[2]
        u = u * s + _ATAN[3]
        u = u * s + _ATAN[4]
        u = u * s + _ATAN[5]
        u = u * s + _ATAN[6]
        u = u * s + _ATAN[7]
        quarters = (-_TWO if behind else _ZERO) + (_ONE if steep else _ZERO)
        angle = quarters * _HALF_PI + (u * (t * s) + t)
        angle = (-angle if behind else angle) * _THIRD

        # its sine and cosine; it is at most pi / 3
        turned = angle * _FOUR_BY_PI >= _ONE
        eighths = _TWO if turned else _ZERO
        t = angle - eighths * _PARTS[0] - eighths * _PARTS[1] - eighths * _PARTS[2]
        s = t * t
        u = ((_COS[0] * s + _COS[1]) * s + _COS[2]) * s * s - s * _HALF + _ONE
        v = ((_SIN[0] * s + _SIN[1]) * s + _SIN[2]) * s * t + t
        cos, sin = (-v if turned else u), (u if turned else v)

        first = (mean + _TWO * magnitude * cos) * size
        second = (mean - magnitude * (cos - _ROOT_OF_3 * sin)) * size
        third = (mean - magnitude * (cos + _ROOT_OF_3 * sin)) * size
        low, high = min(second, third), max(second, third)
        out[0, n] = max(first, high)
        out[1, n] = max(low, min(first, high))
        out[2, n] = min(first, low)
