"""Computes features, with our own kernels or with the fastfilters package."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.features import kernels
from shallow2deep.features.fastfilters_bank import fill_with_fastfilters
from shallow2deep.features.kernel_taps import half_kernel
from shallow2deep.features.spec import FILTERS, FeatureSpec, Filter
from shallow2deep.io.memory import require_memory

_COLUMN = {
    "GaussianSmoothing": kernels.SMOOTHING,
    "LaplacianOfGaussian": kernels.LAPLACE,
    "GaussianGradientMagnitude": kernels.MAGNITUDE,
    "DifferenceOfGaussians": kernels.DIFFERENCE,
    "StructureTensorEigenvalues": kernels.TENSOR,
    "HessianOfGaussianEigenvalues": kernels.HESSE,
}


def _group_kernels(group: list[Filter], window: float) -> np.ndarray:
    """The half kernels of filters of one scale, as `filter_lines_2d` takes them, float32 `(7, 3)`."""
    sigma = min(group[0].scale, 1.0)
    out = np.zeros((7, 3), np.float32)
    for row, (wanted, order) in {
        kernels.GAUSS: (sigma, 0),
        kernels.SLOPE: (sigma, 1),
        kernels.CURVE: (sigma, 2),
        kernels.NARROW: (0.66 * sigma, 0),
        kernels.INNER: (0.5 * sigma, 0),
        kernels.INNER_SLOPE: (0.5 * sigma, 1),
        kernels.OUTER: (sigma, 0),
    }.items():
        half = half_kernel(wanted, order, window)
        out[row, : len(half)] = half
    return out


def compute_features(
    raw: np.ndarray,
    spec: FeatureSpec,
    engine: str = "numba",
    threads: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The filter bank of an image.

    Args:
        raw: `(*spatial)`, any real number type.
        spec: what to compute; its `ndim` is the number of axes of `raw`.
        engine: "numba", our own; or "fastfilters", that package, where it is installed.
        threads: computed at the same time; the result is the same for any number.
        out: float32 `(F, *spatial)`, C-contiguous, to write into; new memory costs as much as the filters.

    Returns:
        float32 `(F, *spatial)`, in the order of `spec.names`.

    Raises:
        InputError: the wrong number of axes, an empty or not real-valued image, an unknown or missing engine.
    """
    image = _checked(raw, spec)
    if out is None:
        require_memory(4 * image.size * spec.n_features, "the features of an image")
        out = np.empty((spec.n_features, *image.shape), np.float32)
    elif (
        out.shape != (spec.n_features, *image.shape) or out.dtype != np.float32 or not out.flags.c_contiguous
    ):
        raise InputError(
            f"out of shape {out.shape} and type {out.dtype} does not hold {spec.n_features} features"
        )
    if engine == "fastfilters":
        fill_with_fastfilters(image, spec, out)
    elif engine == "numba":
        _fill(image, spec, out, threads)
    else:
        raise InputError(f'feature engine "{engine}" was asked for; there are numba and fastfilters')
    return out


def _checked(raw: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The image as the filters see it: float32, contiguous, normalised."""
    if raw.ndim != spec.ndim:
        raise InputError(
            f"raw with {raw.ndim} axes was given, but the features are of {spec.ndim}; give one image"
        )
    if raw.size == 0 or raw.dtype.kind not in "buif":
        raise InputError(f"raw of shape {raw.shape} and type {raw.dtype} has no features; give a grey image")
    image = np.ascontiguousarray(raw, np.float32)
    if (spec.offset, spec.scale) != (0, 1):
        image = (image - np.float32(spec.offset)) / np.float32(spec.scale)
    return image


def _fill(image: np.ndarray, spec: FeatureSpec, out: np.ndarray, threads: int) -> None:
    columns: dict[float, np.ndarray] = {}
    groups: dict[float, list[Filter]] = {}
    position = 0
    for one in spec.filters:
        place = columns.setdefault(one.scale, np.full(len(FILTERS), -1))
        place[_COLUMN[one.name]] = position
        groups.setdefault(one.scale, []).append(one)
        position += one.size(spec.ndim)
    filter_lines = kernels.filter_lines_2d if spec.ndim == 2 else kernels.filter_lines_3d
    with ThreadPoolExecutor(threads) as pool:
        in_parts = _InParts(pool, threads)
        for scale, group in groups.items():
            smooth = half_kernel(group[0].presmoothing, 0, spec.presmoothing_window)
            smoothed = _presmoothed(image, smooth, in_parts)
            taps = _group_kernels(group, spec.window)
            in_parts(image.shape[-2], filter_lines, smoothed, taps, columns[scale], out)


@dataclass(frozen=True)
class _InParts:
    """Calls `function(*arguments, first, last)` for parts of a range at the same time."""

    pool: ThreadPoolExecutor
    threads: int

    def __call__(self, size: int, function: Callable[..., Any], *arguments: np.ndarray) -> None:
        bounds = np.linspace(0, size, min(self.threads, size) + 1).astype(int).tolist()
        started = [self.pool.submit(function, *arguments, *span) for span in pairwise(bounds)]
        for one in started:
            one.result()


def _presmoothed(image: np.ndarray, smooth: np.ndarray, in_parts: _InParts) -> np.ndarray:
    """The image smoothed, with mirrored pixels at the ends of its lines."""
    half = np.zeros(len(smooth) // 2 * 2 + 1, np.float32)
    half[: len(smooth)] = smooth
    out = np.empty((*image.shape[:-1], image.shape[-1] + 2 * kernels.PAD), np.float32)
    if image.ndim == 2:
        in_parts(len(image), kernels.smooth_lines, image, half, out)
        return out
    along = np.empty_like(image)
    flat = (len(image), -1)
    in_parts(len(image), kernels.smooth_planes_along, image.reshape(flat), half, along.reshape(flat))
    in_parts(len(image), kernels.smooth_planes, along, half, out)
    return out
