"""The filter bank by the fastfilters package, called as ilastik calls it."""

from importlib import import_module
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features.spec import PRESMOOTHING_WINDOW, WINDOW, Filter, Part


def load_fastfilters() -> Any:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("fastfilters")
    except ImportError:
        raise InputError(
            "the engine fastfilters was asked for but is not installed; install it with conda from "
            "ilastik-forge, or use the engine numba, which computes the same"
        ) from None


def fill_with_fastfilters(image: np.ndarray, part: Part, out: np.ndarray) -> None:
    """Writes the features of a float32 image into `out` `(F, *spatial)`.

    Raises:
        InputError: the package is not installed.
    """
    fastfilters = load_fastfilters()
    smoothed, scale = image, None
    for one, start, size in zip(part.filters, part.starts, part.sizes, strict=True):
        if one.scale != scale:
            scale = one.scale
            smoothed = fastfilters.gaussianSmoothing(image, one.presmoothing, PRESMOOTHING_WINDOW)
        result = np.asarray(_apply(fastfilters, smoothed, one, WINDOW))
        out[start : start + size] = np.moveaxis(result, -1, 0) if size > 1 else result


def _apply(fastfilters: Any, image: np.ndarray, one: Filter, window: float) -> np.ndarray:
    if one.name == "DifferenceOfGaussians":
        wide, narrow = (fastfilters.gaussianSmoothing(image, sigma, window) for sigma in one.sigmas)
        return wide - narrow
    if one.name == "StructureTensorEigenvalues":
        gradient, smoothing = one.sigmas  # the binding exchanges its two arguments
        return fastfilters.structureTensorEigenvalues(image, smoothing, gradient, window)
    function = {
        "GaussianSmoothing": fastfilters.gaussianSmoothing,
        "LaplacianOfGaussian": fastfilters.laplacianOfGaussian,
        "GaussianGradientMagnitude": fastfilters.gaussianGradientMagnitude,
        "HessianOfGaussianEigenvalues": fastfilters.hessianOfGaussianEigenvalues,
    }[one.name]
    return function(image, one.sigmas[0], window)
