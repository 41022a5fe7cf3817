"""The filter bank by the fastfilters package, called as ilastik calls it."""

from importlib import import_module
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features.spec import FeatureSpec, Filter


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


def fill_with_fastfilters(image: np.ndarray, spec: FeatureSpec, out: np.ndarray) -> None:
    """Writes the features of a float32 image into `out` `(F, *spatial)`.

    Raises:
        InputError: the package is not installed.
    """
    fastfilters = load_fastfilters()
    position, smoothed, scale = 0, image, None
    for one in spec.filters:
        if one.scale != scale:
            scale = one.scale
            smoothed = fastfilters.gaussianSmoothing(image, one.presmoothing, spec.presmoothing_window)
        size = one.size(spec.ndim)
        result = np.asarray(_apply(fastfilters, smoothed, one, spec.window))
        out[position : position + size] = np.moveaxis(result, -1, 0) if size > 1 else result
        position += size


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
