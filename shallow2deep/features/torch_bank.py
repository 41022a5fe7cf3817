"""The filter bank as torch operations, for a GPU: as the compiled kernels to 5e-5 of the image's range."""

from collections.abc import Callable
from functools import cache, partial
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from shallow2deep.errors import InputError
from shallow2deep.features.kernel_taps import half_kernel
from shallow2deep.features.spec import PRESMOOTHING_WINDOW, WINDOW, FeatureSpec, Filter


def compute_features_torch(raw: Tensor, spec: FeatureSpec) -> Tensor:
    """The filter bank of an image, on the device that it is on.

    Args:
        raw: `(*spatial)`, or `(C, *spatial)` where the spec has several channels.

    Returns:
        float32 `(F, *spatial)`, in the order of `spec.names`.

    Raises:
        InputError: the wrong number of axes or channels, or no real numbers.
    """
    channels = raw[None] if raw.ndim == spec.ndim else raw
    if channels.ndim != spec.ndim + 1 or len(channels) != spec.channels or raw.is_complex():
        raise InputError(
            f"raw of shape {tuple(raw.shape)} and type {raw.dtype} was given, but the features are of "
            f"{spec.ndim} axes and {spec.channels} channels; give one such image"
        )
    channels = (channels.float() - spec.offset) / spec.scale
    out = torch.empty((spec.n_features, *channels.shape[1:]), device=channels.device)
    for number, image in enumerate(channels):
        for part in spec.parts(number):
            smoothed = cache(partial(_smoothed, image, part.ndim))
            for one, start, size in zip(part.filters, part.starts, part.sizes, strict=True):
                out[start : start + size] = _apply(smoothed(one.presmoothing), one, part.ndim)
    return out


def _smoothed(image: Tensor, ndim: int, sigma: float) -> Tensor:
    return _derivative(image, sigma, (0,) * ndim, PRESMOOTHING_WINDOW)


def _derivative(image: Tensor, sigma: float, orders: tuple[int, ...], window: float) -> Tensor:
    """The Gaussian derivative of an order along each of the last axes; the image goes on mirrored."""
    for axis, order in enumerate(orders, image.ndim - len(orders)):
        half = half_kernel(sigma, order, window).astype(np.float32).tolist()
        image = _along(image, half, axis, odd=order == 1)
    return image


def _along(image: Tensor, half: list[float], axis: int, odd: bool) -> Tensor:
    size, reach = image.shape[axis], len(half) - 1
    index = torch.arange(-reach, size + reach, device=image.device).abs() % max(2 * size - 2, 1)
    padded = image.index_select(axis, torch.minimum(index, (2 * size - 2 - index).clamp(min=0)))
    out = half[0] * image
    for n in range(1, reach + 1):
        before, behind = padded.narrow(axis, reach - n, size), padded.narrow(axis, reach + n, size)
        out += half[n] * (behind - before if odd else behind + before)
    return out


def _apply(image: Tensor, one: Filter, ndim: int) -> Tensor:
    """The features `(size, *spatial)` of a presmoothed image, filtered along its last `ndim` axes."""
    sigma, window = one.sigmas[0], WINDOW

    def derived(*axes: int) -> Tensor:
        return _derivative(image, sigma, tuple(axes.count(a) for a in range(ndim)), window)

    match one.name:
        case "GaussianSmoothing":
            return derived()[None]
        case "DifferenceOfGaussians":
            return (derived() - _derivative(image, one.sigmas[1], (0,) * ndim, window))[None]
        case "LaplacianOfGaussian":
            return torch.stack([derived(a, a) for a in range(ndim)]).sum(0)[None]
        case "GaussianGradientMagnitude":
            return torch.stack([derived(a) for a in range(ndim)]).square().sum(0).sqrt()[None]
        case "HessianOfGaussianEigenvalues":
            return _eigenvalues(lambda a, b: derived(a, b), ndim)
    gradient = [derived(a) for a in range(ndim)]
    plain = (0,) * ndim
    return _eigenvalues(
        lambda a, b: _derivative(gradient[a] * gradient[b], one.sigmas[1], plain, window), ndim
    )


def _eigenvalues(entry: Callable[[int, int], Tensor], ndim: int) -> Tensor:
    """Of the symmetric matrix with these entries at each pixel, descending, `(ndim, *spatial)`."""
    m = {(a, b): entry(a, b) for a, b in combinations_with_replacement(range(ndim), 2)}
    if ndim == 2:
        middle, half = (m[0, 0] + m[1, 1]) / 2, (m[0, 0] - m[1, 1]) / 2
        root = (half * half + m[0, 1] * m[0, 1]).sqrt()
        return torch.stack([middle + root, middle - root])
    m = {place: values.double() for place, values in m.items()}  # as the compiled kernels do
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3
    a, b, c = (m[i, i] - mean for i in range(3))
    xy, xz, yz = m[0, 1], m[0, 2], m[1, 2]
    spread = ((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6).sqrt()
    det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    r = (det / 2 / spread**3).nan_to_num(1.0, 1.0, 1.0).clamp(-1, 1)
    # acos of a root, as acos itself is inexact near -1 and 1
    largest = mean + 2 * spread * torch.cos(2 / 3 * torch.acos(((1 + r) / 2).sqrt()))
    smallest = mean - 2 * spread * torch.cos(2 / 3 * torch.acos(((1 - r) / 2).sqrt()))
    return torch.stack([largest, 3 * mean - largest - smallest, smallest]).float()
