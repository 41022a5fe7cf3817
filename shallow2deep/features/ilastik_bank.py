"""ilastik's filter bank: computes features, with our own kernels or with the fastfilters package."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.features import kernels
from shallow2deep.features.bank import register
from shallow2deep.features.fastfilters_bank import fill_with_fastfilters
from shallow2deep.features.fastfilters_float32 import fill_as_fastfilters
from shallow2deep.features.kernel_taps import half_kernel
from shallow2deep.features.spec import FILTERS, PRESMOOTHING_WINDOW, WINDOW, FeatureSpec, Filter, Part
from shallow2deep.features.vigra_bank import fill_as_vigra
from shallow2deep.io.memory import require_memory

_Fill = Callable[[np.ndarray, Part, np.ndarray], None]
_FillRegion = Callable[[np.ndarray, Part, Window, np.ndarray], None]
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
    tensors = [one.sigmas for one in group if one.name == "StructureTensorEigenvalues"]
    inner, outer = tensors[0] if tensors else (sigma, sigma)
    out = np.zeros((7, 3), np.float32)
    for row, (wanted, order) in {
        kernels.GAUSS: (sigma, 0),
        kernels.SLOPE: (sigma, 1),
        kernels.CURVE: (sigma, 2),
        kernels.NARROW: (0.66 * sigma, 0),
        kernels.INNER: (inner, 0),
        kernels.INNER_SLOPE: (inner, 1),
        kernels.OUTER: (outer, 0),
    }.items():
        half = half_kernel(wanted, order, window)
        out[row, : len(half)] = half
    return out


MARGIN = kernels.PAD  # the filters reach no farther on the presmoothed image


def compute_features(
    raw: np.ndarray,
    spec: FeatureSpec,
    engine: str = "numba",
    threads: int = 1,
    out: np.ndarray | None = None,
    inner: Window | None = None,
) -> np.ndarray:
    """The filter bank of an image, or of a window of it.

    Args:
        raw: `(*spatial)`, or `(C, *spatial)` where the spec has several channels; any real number type.
        spec: what to compute; its `ndim` is the number of spatial axes.
        engine: "numba", our own; or "fastfilters", that package, where it is installed. Of specs whose
            library is vigra there is one engine alone, our own, on one thread; in 3D our own works on one
            thread for "fastfilters float32", too.
        threads: computed at the same time; the result is the same for any number.
        out: float32, C-contiguous: memory to compute in, as new one costs as much as the filters;
            `spec.n_features` values a pixel, with `inner` of those up to `MARGIN` around it, too.
        inner: over the spatial axes, the window whose features are wanted, as if cut out of all.

    Returns:
        float32 `(F, *spatial)`, in the order of `spec.names`; with `inner`, a view of its shape.

    Raises:
        InputError: the wrong number of axes, an empty or not real-valued image, an unknown or missing engine.
    """
    channels = _checked(raw, spec)
    shape = channels.shape[1:]
    if threads < 1:
        raise InputError(f"{threads} threads were asked for; give 1 or more")
    if engine not in ("numba", "fastfilters"):
        raise InputError(f'feature engine "{engine}" was asked for; there are numba and fastfilters')
    inner = inner or tuple(slice(0, n) for n in shape)
    region = tuple(
        slice(max(s.start - MARGIN, 0), min(s.stop + MARGIN, n)) for s, n in zip(inner, shape, strict=True)
    )
    place = _memory(spec, region, out)
    for number, image in enumerate(channels):
        for part in spec.parts(number):
            fill = _filler(spec.library, part, engine, threads)
            if not part.in_2d:
                fill(image, part, region, place)
                continue
            buffer = np.empty((len(part.places), *place.shape[2:]), np.float32)
            for z, plane in enumerate(image[region[0]]):
                fill(plane, replace(part, starts=part.starts_in_buffer), region[1:], buffer)
                place[part.places, z] = buffer
    local = (slice(i.start - r.start, i.stop - r.start) for i, r in zip(inner, region, strict=True))
    return place[(slice(None), *local)]


def _filler(library: str, part: Part, engine: str, threads: int) -> _FillRegion:
    if library == "vigra":
        return partial(_fill_whole, fill_as_vigra)
    if engine == "fastfilters":
        return partial(_fill_whole, fill_with_fastfilters)
    if library == "fastfilters float32" and part.ndim == 3:
        return fill_as_fastfilters
    return partial(_fill, threads=threads)


def _memory(spec: FeatureSpec, region: Window, out: np.ndarray | None) -> np.ndarray:
    """Memory for the features of a region, `(F, *spatial)`: the given one if there is one."""
    shape = (spec.n_features, *(s.stop - s.start for s in region))
    size = math.prod(shape)
    if out is None:
        require_memory(4 * size, "the features of an image")
        return np.empty(shape, np.float32)
    if out.size < size or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(
            f"out of shape {out.shape} and type {out.dtype} does not hold {spec.n_features} features"
        )
    return out.reshape(-1)[:size].reshape(shape)


def _fill_whole(fill: _Fill, image: np.ndarray, part: Part, region: Window, out: np.ndarray) -> None:
    """By an engine that knows no regions."""
    require_memory(4 * len(part.places) * image.size, "the features of a block")
    whole = np.empty((len(part.places), *image.shape), np.float32)
    fill(image, replace(part, starts=part.starts_in_buffer), whole)
    out[part.places] = whole[(slice(None), *region)]


def _checked(raw: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The image as the filters see it: float32 `(C, *spatial)`, contiguous, normalised."""
    channels = raw[None] if spec.channels == 1 and raw.ndim == spec.ndim else raw
    if channels.ndim != spec.ndim + 1 or len(channels) != spec.channels:
        raise InputError(
            f"raw of shape {raw.shape} was given, but the features are of {spec.ndim} axes and "
            f"{spec.channels} channels; give one such image"
        )
    if raw.size == 0 or raw.dtype.kind not in "buif":
        raise InputError(f"raw of shape {raw.shape} and type {raw.dtype} has no features; give a grey image")
    image = np.ascontiguousarray(channels, np.float32)
    if (spec.offset, spec.scale) != (0, 1):
        image = (image - np.float32(spec.offset)) / np.float32(spec.scale)
    return image


def _fill(image: np.ndarray, part: Part, region: Window, out: np.ndarray, threads: int) -> None:
    """By our own kernels; only the region is presmoothed and filtered."""
    columns: dict[float, np.ndarray] = {}
    groups: dict[float, list[Filter]] = {}
    for one, start in zip(part.filters, part.starts, strict=True):
        place = columns.setdefault(one.scale, np.full(len(FILTERS), -1))
        place[_COLUMN[one.name]] = start
        groups.setdefault(one.scale, []).append(one)
    filter_lines = kernels.filter_lines_2d if part.ndim == 2 else kernels.filter_lines_3d
    with ThreadPoolExecutor(threads) as pool:
        in_parts = _InParts(pool, threads)
        for scale, group in groups.items():
            smooth = half_kernel(group[0].presmoothing, 0, PRESMOOTHING_WINDOW)
            smoothed = _presmoothed(image, smooth, region, in_parts)
            taps = _group_kernels(group, WINDOW)
            lines = smoothed.shape[-2]
            in_parts(lines, filter_lines, smoothed, taps, columns[scale], out)
            if part.ndim == 3 and columns[scale][kernels.TENSOR] >= 0:
                in_parts(lines, kernels.tensor_lines_3d, smoothed, taps, columns[scale], out)


@dataclass(frozen=True)
class _InParts:
    """Calls `function(*arguments, first, last)` for parts of a range at the same time."""

    pool: ThreadPoolExecutor
    threads: int

    def __call__(self, size: int, function: Callable[..., Any], *arguments: np.ndarray | int) -> None:
        bounds = np.linspace(0, size, min(self.threads, size) + 1).astype(int).tolist()
        started = [self.pool.submit(function, *arguments, *span) for span in pairwise(bounds)]
        for one in started:
            one.result()


def _presmoothed(image: np.ndarray, smooth: np.ndarray, region: Window, in_parts: _InParts) -> np.ndarray:
    """A region of the image smoothed, with mirrored pixels at the ends of its lines."""
    half = np.zeros(len(smooth) // 2 * 2 + 1, np.float32)
    half[: len(smooth)] = smooth
    sizes = [s.stop - s.start for s in region]
    top, left = region[-2].start, region[-1].start
    out = np.empty((*sizes[:-1], sizes[-1] + 2 * kernels.PAD), np.float32)
    if image.ndim == 2:
        in_parts(len(out), kernels.smooth_lines, image, half, top, left, out)
        return out
    along = np.empty((len(out), *image.shape[1:]), np.float32)
    planes, smoothed = image.reshape(len(image), -1), along.reshape(len(along), -1)
    in_parts(len(along), kernels.smooth_planes_along, planes, half, region[0].start, smoothed)
    in_parts(len(along), _smooth_planes, along, half, top, left, out)
    return out


def _smooth_planes(
    source: np.ndarray, half: np.ndarray, top: int, left: int, out: np.ndarray, first: int, last: int
) -> None:
    """`smooth_lines` of planes `first` to `last`."""
    for plane, target in zip(source[first:last], out[first:last], strict=True):
        kernels.smooth_lines(plane, half, top, left, target, 0, len(target))


@dataclass(frozen=True)
class IlastikBank:
    """The filters of a spec as a `Bank`.

    Attributes:
        engine: see `compute_features`.
    """

    spec: FeatureSpec
    engine: str = "numba"

    @property
    def ndim(self) -> int:
        return self.spec.ndim

    @property
    def channels(self) -> int:
        return self.spec.channels

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.spec.names)

    @property
    def halo(self) -> tuple[int, ...]:
        return tuple(self.spec.halo)

    def room(self, inner: Window) -> int:
        """See `Bank`."""
        return self.spec.n_features * math.prod(s.stop - s.start + 2 * MARGIN for s in inner)

    def compute(
        self, raw: np.ndarray, inner: Window | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Bank`."""
        return compute_features(raw, self.spec, self.engine, out=out, inner=inner)


register(FeatureSpec, IlastikBank)
