"""The U-Net of enhancer and segmentor and its kin, in two or three dimensions.

At prediction time a pixel's result depends on its receptive field alone: BatchNorm uses its stored
statistics, and there is no normalisation over the tile or the batch. So tiles can be stitched exactly.
Group norm and the squeezing of channels are exceptions: they depend on all of a tile.
"""

from collections.abc import Callable, Sequence
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn

_LAYERS: dict[int, tuple[Any, Any, Any, Any]] = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.ConvTranspose2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.ConvTranspose3d, nn.MaxPool3d),
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "silu": lambda: nn.SiLU(inplace=True),
    "gelu": nn.GELU,
}
_GROUPS = 8  # of group norm, at most
_REDUCTION = 2  # of the channels that are squeezed


def kernels_of(strides: Sequence[Sequence[int]], ndim: int) -> list[tuple[int, ...]]:
    """Widths of the convolutions at each level, per axis.

    Along an axis that is not pooled behind a level its pixels are still longer than along the others, so the
    convolutions of that level have width 1 there (as in nnU-Net, Isensee et al. 2021). The lowest level sees
    all axes.

    >>> kernels_of(((1, 2, 2), (2, 2, 2)), 3)
    [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    """
    return [*(tuple(1 if n == 1 else 3 for n in stride) for stride in strides), (3,) * ndim]


def _layer(inputs: int, outputs: int, kernel: tuple[int, ...], norm: str) -> list[nn.Module]:
    """A convolution and its normalisation."""
    convolution, batch_norm, _, _ = _LAYERS[len(kernel)]
    padding = tuple(n // 2 for n in kernel)
    layers: list[nn.Module] = [convolution(inputs, outputs, kernel, padding=padding, bias=norm == "none")]
    if norm == "batch":
        layers.append(batch_norm(outputs))
    elif norm == "group":
        layers.append(nn.GroupNorm(gcd(_GROUPS, outputs), outputs))
    return layers


def _double_convolution(
    inputs: int, outputs: int, kernel: tuple[int, ...], norm: str, activation: str
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [*_layer(channels, outputs, kernel, norm), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, doi 10.1109/CVPR.2016.90).

    Args:
        squeeze: see `SqueezeExcitation`; empty for none.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], norm: str, activation: str, squeeze: str
    ):
        super().__init__()
        convolution = _LAYERS[len(kernel)][0]
        self.body = nn.Sequential(
            *_layer(inputs, outputs, kernel, norm),
            _ACTIVATIONS[activation](),
            *_layer(outputs, outputs, kernel, norm),
        )
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)
        self.gate = SqueezeExcitation(outputs, len(kernel), squeeze) if squeeze else nn.Identity()
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.gate(self.body(x)) + self.shortcut(x))


class SqueezeExcitation(nn.Module):
    """Weighs channels, pixels or both (Roy et al. 2018, arXiv 1803.02579).

    Args:
        squeeze: "channel": each channel by a factor that follows from the means of all over the whole input
            (Hu et al. 2018, arXiv 1709.01507); "spatial": each pixel by one that follows from its channels;
            "both": the larger of the two.
    """

    def __init__(self, channels: int, ndim: int, squeeze: str):
        super().__init__()
        convolution, narrow = _LAYERS[ndim][0], max(1, channels // _REDUCTION)
        self.axes = list(range(2, ndim + 2))
        self.channel = (
            None
            if squeeze == "spatial"
            else nn.Sequential(
                convolution(channels, narrow, 1),
                nn.ReLU(inplace=True),
                convolution(narrow, channels, 1),
                nn.Sigmoid(),
            )
        )
        self.spatial = (
            None if squeeze == "channel" else nn.Sequential(convolution(channels, 1, 1), nn.Sigmoid())
        )

    def forward(self, x: Tensor) -> Tensor:
        weighed: list[Tensor] = []
        if self.spatial is not None:
            weighed.append(x * self.spatial(x))
        if self.channel is not None:
            weighed.append(x * self.channel(x.mean(self.axes, keepdim=True)))
        return weighed[0] if len(weighed) == 1 else torch.maximum(*weighed)


class AttentionGate(nn.Module):
    """Weighs the pixels of a skip connection (Oktay et al. 2018, arXiv 1804.03999).

    The gating signal is what comes from the level below when it is brought to the size of the skip.
    """

    def __init__(self, channels: int, ndim: int):
        super().__init__()
        convolution, narrow = _LAYERS[ndim][0], max(1, channels // 2)
        self.of_skip, self.of_gating = convolution(channels, narrow, 1), convolution(channels, narrow, 1)
        self.weight = nn.Sequential(nn.ReLU(inplace=True), convolution(narrow, 1, 1), nn.Sigmoid())

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        return skip * self.weight(self.of_skip(skip) + self.of_gating(gating))


def nodes_of(depth: int, nested: bool) -> list[tuple[int, int]]:
    """The level and column of each block on the way up, level by level.

    A column is the number of levels from which a block has been brought up; blocks on the way down are column
    0. A U-Net has one block a level, a nested one all between the two ways.

    >>> nodes_of(2, False), nodes_of(2, True)
    ([(0, 2), (1, 1)], [(0, 1), (0, 2), (1, 1)])
    """
    return [
        (level, column)
        for level in range(depth)
        for column in range(1 if nested else depth - level, depth - level + 1)
    ]


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) or one of its kin, whose stem can work at a reduced resolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: channels at the first level, doubled at each level below.
        strides: of the pooling between each level and the next, per axis; they also decide on the widths of
            the convolutions, see `kernels_of`.
        stem: per axis; the first convolution has this stride, and the logits are brought back by as much.
            A stem of 2 needs a quarter of the time in 2D and sees twice as far. In 3D it is 1 on each axis.
        kind: "unet"; "residual": each pair of convolutions has a shortcut; "residual-se": and what comes
            beside it is squeezed and excited; "attention": skip connections are gated; "unet++": nested, with
            blocks between the way down and the way up (Zhou et al. 2018, arXiv 1807.10165, without its deep
            supervision).
        norm: "batch", "group" or "none".
        activation: "relu", "leaky_relu", "elu", "silu" or "gelu".
        dropout: share of channels that are dropped in training behind the blocks of each level; the last
            number holds for all levels below.
        squeeze: see `SqueezeExcitation`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int,
        strides: Sequence[Sequence[int]],
        stem: Sequence[int],
        kind: str = "unet",
        norm: str = "batch",
        activation: str = "relu",
        dropout: Sequence[float] = (),
        squeeze: str = "spatial",
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
        self.nested = kind == "unet++"
        self.nodes = nodes_of(depth, self.nested)
        shares = [*dropout[: depth + 1], *[dropout[-1] if dropout else 0.0] * (depth + 1 - len(dropout))]

        def block(inputs: int, level: int) -> nn.Module:
            made: nn.Module
            if kind in ("residual", "residual-se"):
                gate = squeeze if kind == "residual-se" else ""
                made = ResidualBlock(inputs, widths[level], kernels[level], norm, activation, gate)
            else:
                made = _double_convolution(inputs, widths[level], kernels[level], norm, activation)
            dropping = nn.Dropout2d if ndim == 2 else nn.Dropout3d
            return nn.Sequential(made, dropping(shares[level])) if shares[level] else made

        self.down = nn.ModuleList(block(n, level) for level, n in enumerate([first, *widths[:-1]]))
        self.pool = nn.ModuleList(pooling(stride) for stride in self.strides)
        self.up = nn.ModuleList(
            transposed(widths[level + 1], widths[level], self.strides[level], stride=self.strides[level])
            for level, _ in self.nodes
        )
        self.merge = nn.ModuleList(
            block((1 + (column if self.nested else 1)) * widths[level], level) for level, column in self.nodes
        )
        self.head = nn.Sequential(
            convolution(features, out_channels * prod(self.stem_stride), 1),
            nn.PixelShuffle(self.stem_stride[0]) if reduced else nn.Identity(),
        )
        gated = widths[:depth] if kind == "attention" else []
        self.gates = nn.ModuleList(AttentionGate(channels, ndim) for channels in gated)

    @property
    def step(self) -> tuple[int, ...]:
        """Input sizes must be multiples of this many pixels, per axis."""
        return tuple(n * prod(along) for n, *along in zip(self.stem_stride, *self.strides, strict=True))

    @property
    def halo(self) -> tuple[int, ...]:
        """Pixels that a block needs on each side: the receptive field's radius, rounded up to `step`.

        Each block has two convolutions; pooling and its inverse reach less than one pixel of the level below.
        """
        out = []
        widths = zip(*kernels_of(self.strides, len(self.stem_stride)), strict=True)
        axes = zip(self.step, self.stem_stride, widths, *self.strides, strict=True)
        for step, stem, kernels, *along in axes:
            sizes = [prod(along[:level]) for level in range(len(along) + 1)]  # of a level's pixels
            radii = [size * (kernel // 2) for size, kernel in zip(sizes, kernels, strict=True)]
            reach = stem * (2 * self._blocks_seen(radii) + sizes[-1])
            out.append(-(-reach // step) * step)
        return tuple(out)

    def _blocks_seen(self, radii: Sequence[int]) -> int:
        """The sum of the radii of the blocks on the longest way through the network."""
        seen = {(level, 0): sum(radii[: level + 1]) for level in range(len(radii))}
        for level, column in sorted(self.nodes, key=lambda node: node[1]):
            before = [seen[level, 0], seen[level + 1, column - 1], seen.get((level, column - 1), 0)]
            seen[level, column] = radii[level] + max(before)
        return seen[0, len(radii) - 1]

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, out_channels, *spatial)` of `x`, `(batch, in_channels, *spatial)`."""
        x = self.stem(x)
        rows: list[list[Tensor]] = []  # of each level, what its blocks gave
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool[level - 1](x))
            rows.append([x])
        for number, (level, _) in sorted(enumerate(self.nodes), key=lambda node: (node[1][1], node[1][0])):
            below = self.up[number](rows[level + 1][-1])
            skips = [self.gates[level](rows[level][0], below)] if len(self.gates) else rows[level]
            rows[level].append(self.merge[number](torch.cat([*skips, below], 1)))
        return self.head(rows[0][-1])
