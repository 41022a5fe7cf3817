"""The filter bank once more, slow and in float64, from the rules alone: scipy and numpy."""

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.features import FeatureSpec
from shallow2deep.features.spec import Filter


def kernel(sigma: float, order: int, window: float) -> np.ndarray:
    radius = int(window * sigma + 0.5)
    x = np.arange(-radius, radius + 1.0)
    gauss = np.exp(-(x**2) / (2 * sigma**2))
    gauss /= gauss.sum()
    if order == 0:
        return gauss
    if order == 1:
        return x * gauss / (x * x * gauss).sum()
    curve = (x**2 - sigma**2) * gauss
    curve -= curve.mean()
    return curve / (curve * x**2 / 2).sum()


def derivative(image: np.ndarray, sigma: float, orders: tuple[int, ...], window: float) -> np.ndarray:
    for axis, order in enumerate(orders):
        image = ndi.correlate1d(image, kernel(sigma, order, window), axis, mode="mirror")
    return image


def unit(ndim: int, *axes: int) -> tuple[int, ...]:
    return tuple(axes.count(a) for a in range(ndim))


def eigenvalues(entries: dict[tuple[int, int], np.ndarray], ndim: int) -> np.ndarray:
    rows = [[entries[min(a, b), max(a, b)] for b in range(ndim)] for a in range(ndim)]
    matrix = np.moveaxis(np.array(rows), (0, 1), (-2, -1))
    return np.moveaxis(np.linalg.eigvalsh(matrix)[..., ::-1], -1, 0)


def apply(image: np.ndarray, one: Filter, window: float) -> np.ndarray:
    d, sigma = image.ndim, one.sigmas[0]
    pairs = list(combinations_with_replacement(range(d), 2))
    match one.name:
        case "GaussianSmoothing":
            return derivative(image, sigma, unit(d), window)[None]
        case "DifferenceOfGaussians":
            wide, narrow = (derivative(image, s, unit(d), window) for s in one.sigmas)
            return (wide - narrow)[None]
        case "LaplacianOfGaussian":
            return sum(derivative(image, sigma, unit(d, a, a), window) for a in range(d))[None]
        case "GaussianGradientMagnitude":
            squares = sum(derivative(image, sigma, unit(d, a), window) ** 2 for a in range(d))
            return np.sqrt(squares)[None]
        case "HessianOfGaussianEigenvalues":
            return eigenvalues({p: derivative(image, sigma, unit(d, *p), window) for p in pairs}, d)
    gradient = [derivative(image, sigma, unit(d, a), window) for a in range(d)]
    products = {p: derivative(gradient[p[0]] * gradient[p[1]], one.sigmas[1], unit(d), window) for p in pairs}
    return eigenvalues(products, d)


def features(raw: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """By the rules: filter, then channel, then eigenvalue."""
    image = (raw.astype(np.float64) - spec.offset) / spec.scale
    channels = image[None] if image.ndim == spec.ndim else image
    return np.concatenate([of_channel(channel, one, spec) for one in spec.filters for channel in channels])


def of_channel(image: np.ndarray, one: Filter, spec: FeatureSpec) -> np.ndarray:
    if one.in_2d:
        flat = replace(one, in_2d=False)
        return np.stack([of_channel(plane, flat, spec) for plane in image], 1)
    smoothed = derivative(image, one.presmoothing, unit(image.ndim), spec.presmoothing_window)
    return apply(smoothed, one, spec.window)


def assert_close(found: np.ndarray, expected: np.ndarray, share: float) -> None:
    """Within a share of each feature's range."""
    axes = tuple(range(1, found.ndim))
    span = expected.max(axes) - expected.min(axes)
    error = np.abs(found - expected).max(axes)
    assert (error <= share * np.maximum(span, 1e-3)).all(), error / np.maximum(span, 1e-3)
