"""What sizes a network takes, how far it sees, and how much memory that needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import torch

from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import kernels_of

_FLOAT, _INDEX = 4, 8  # bytes
_OF_TRAINING = 4  # a weight, its gradient, and the optimiser's two means


@dataclass(frozen=True)
class NetworkSizes:
    """Of a U-Net, per spatial axis in pixels of its input.

    Attributes:
        step: inputs are multiples of it.
        receptive_field: of one pixel of the output, the largest: how many pixels of the input it depends on.
        border: this near to the end of an input without mirrored surroundings, results depend on the padding.
        halo: what is read around each block, so that results do not: `border`, in whole steps.
        parameters: number of weights.
    """

    step: tuple[int, ...]
    receptive_field: tuple[int, ...]
    border: tuple[int, ...]
    halo: tuple[int, ...]
    parameters: int
    _spec: ModelSpec

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        with torch.device("meta"):
            network = spec.build()
        fields, borders = zip(*(_seen(spec, axis) for axis in range(spec.ndim)), strict=True)
        parameters = sum(p.numel() for p in network.parameters())
        return cls(network.step, fields, borders, network.halo, parameters, spec)

    def valid_sizes(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest input that holds an image of this size."""
        return tuple(-(-n // step) * step for n, step in zip(size, self.step, strict=True))

    def training_bytes(self, patch: Sequence[int], batch: int) -> int:
        """About what one training step in float32 keeps: weights, and what each layer gives.

        Of two convolutions there are four results, before and behind each normalisation; on the way up also
        what they are given, of twice the width. Behind them come gradients, of the size of the widest layers.
        """
        pixels, widths = self._levels(patch)
        tops = [n * width for n, width in zip(pixels, widths, strict=True)]
        kept = _FLOAT * (10 * sum(tops[:-1]) + 4 * tops[-1])
        indices = _INDEX * sum(n * width for n, width in zip(pixels[1:], widths, strict=False))
        return batch * (kept + indices + _FLOAT * 4 * tops[0]) + _OF_TRAINING * _FLOAT * self.parameters

    def prediction_bytes(self, block: Sequence[int]) -> int:
        """About what a block needs with its halo, in float32, on the way up at the first level.

        That is what lies beside each other there, and the copies that oneDNN makes for its own layout.
        """
        whole = [n + 2 * halo for n, halo in zip(self.valid_sizes(block), self.halo, strict=True)]
        pixels, widths = self._levels(whole)
        tops = [n * width for n, width in zip(pixels, widths, strict=True)]
        return _FLOAT * (10 * tops[0] + sum(tops[1:]) + self.parameters)

    def _levels(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """Pixels and channels of each level."""
        sizes = [[n // stem for n, stem in zip(size, self._spec.stem, strict=True)]]
        for stride in self._spec.strides:
            sizes.append([n // by for n, by in zip(sizes[-1], stride, strict=True)])
        return [prod(one) for one in sizes], [self._spec.features * 2**level for level in range(len(sizes))]


def _seen(spec: ModelSpec, axis: int) -> tuple[int, int]:
    """Along an axis the largest receptive field, and how far it reaches to one side.

    From a pixel of the output back to the input: two convolutions at each level on the way down to the lowest
    one, and two on the way up again.
    """
    stem, strides = spec.stem[axis], [stride[axis] for stride in spec.strides]
    *radii, lowest = (2 * (kernel[axis] // 2) for kernel in kernels_of(spec.strides, spec.ndim))
    field = reach = 0
    for pixel in range(spec.step[axis]):
        low = high = pixel // stem
        for radius, stride in zip(radii, strides, strict=True):
            low, high = (low - radius) // stride, (high + radius) // stride
        low, high = low - lowest, high + lowest
        for radius, stride in zip(reversed(radii), reversed(strides), strict=True):
            low, high = low * stride - radius, (high + 1) * stride - 1 + radius
        low, high = low * stem, (high + 1) * stem - 1
        field, reach = max(field, high - low + 1), max(reach, pixel - low, high - pixel)
    return field, reach
