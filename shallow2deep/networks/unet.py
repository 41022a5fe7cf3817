"""The U-Net of enhancer and segmentor, in two or three dimensions.

At prediction time a pixel's result depends on its receptive field alone: BatchNorm uses its stored
statistics, and there is no normalisation over the tile or the batch. So tiles can be stitched exactly.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

_LAYERS: dict[int, tuple[Any, Any, Any, Any]] = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.ConvTranspose2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.ConvTranspose3d, nn.MaxPool3d),
}


def kernels_of(strides: Sequence[Sequence[int]], ndim: int) -> list[tuple[int, ...]]:
    """Widths of the convolutions at each level, per axis.

    Along an axis that is not pooled behind a level its pixels are still longer than along the others, so the
    convolutions of that level have width 1 there (as in nnU-Net, Isensee et al. 2021). The lowest level sees
    all axes.

    >>> kernels_of(((1, 2, 2), (2, 2, 2)), 3)
    [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    """
    return [*(tuple(1 if n == 1 else 3 for n in stride) for stride in strides), (3,) * ndim]


def _double_convolution(inputs: int, outputs: int, kernel: tuple[int, ...]) -> nn.Sequential:
    convolution, norm, _, _ = _LAYERS[len(kernel)]
    padding = tuple(n // 2 for n in kernel)
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            convolution(channels, outputs, kernel, padding=padding, bias=False),
            norm(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose stem can work at a reduced resolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: channels at the first level, doubled at each level below.
        strides: of the pooling between each level and the next, per axis; they also decide on the widths of
            the convolutions, see `kernels_of`.
        stem: per axis; the first convolution has this stride, and the logits are brought back by as much.
            A stem of 2 needs a quarter of the time in 2D and sees twice as far. In 3D it is 1 on each axis.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int,
        strides: Sequence[Sequence[int]],
        stem: Sequence[int],
    ):
        super().__init__()
        self.stem_stride, self.strides = tuple(stem), tuple(tuple(stride) for stride in strides)
        ndim, depth = len(self.stem_stride), len(self.strides)
        convolution, _, transposed, pooling = _LAYERS[ndim]
        reduced = prod(self.stem_stride) > 1
        widths = [features * 2**level for level in range(depth + 1)]
        kernels = kernels_of(self.strides, ndim)
        self.stem = (
            convolution(in_channels, features, self.stem_stride, stride=self.stem_stride)
            if reduced
            else nn.Identity()
        )
        first = features if reduced else in_channels
        self.down = nn.ModuleList(
            _double_convolution(i, o, kernel)
            for i, o, kernel in zip([first, *widths], widths, kernels, strict=False)
        )
        self.pool = nn.ModuleList(pooling(stride) for stride in self.strides)
        self.up = nn.ModuleList(
            transposed(widths[level + 1], widths[level], stride, stride=stride)
            for level, stride in enumerate(self.strides)
        )
        self.merge = nn.ModuleList(
            _double_convolution(2 * widths[level], widths[level], kernels[level]) for level in range(depth)
        )
        self.head = nn.Sequential(
            convolution(features, out_channels * prod(self.stem_stride), 1),
            nn.PixelShuffle(self.stem_stride[0]) if reduced else nn.Identity(),
        )

    @property
    def step(self) -> tuple[int, ...]:
        """Input sizes must be multiples of this many pixels, per axis."""
        return tuple(n * prod(along) for n, *along in zip(self.stem_stride, *self.strides, strict=True))

    @property
    def halo(self) -> tuple[int, ...]:
        """Pixels that a block needs on each side: the receptive field's radius, rounded up to `step`.

        Each level has two convolutions on the way down and, but for the lowest, two on the way up; pooling
        and its inverse reach less than one pixel of the level below.
        """
        out = []
        widths = zip(*kernels_of(self.strides, len(self.stem_stride)), strict=True)
        axes = zip(self.step, self.stem_stride, widths, *self.strides, strict=True)
        for step, stem, kernels, *along in axes:
            sizes = [prod(along[:level]) for level in range(len(along) + 1)]  # of a level's pixels
            radii = [size * (kernel // 2) for size, kernel in zip(sizes, kernels, strict=True)]
            reach = stem * (4 * sum(radii[:-1]) + 2 * radii[-1] + sizes[-1])
            out.append(-(-reach // step) * step)
        return tuple(out)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, out_channels, *spatial)` of `x`, `(batch, in_channels, *spatial)`."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool[level - 1](x))
            skips.append(x)
        for level in reversed(range(len(self.merge))):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], 1))
        return self.head(x)
