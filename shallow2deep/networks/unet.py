"""The U-Net of enhancer and segmentor.

At prediction time a pixel's result depends on its receptive field alone: BatchNorm uses its stored
statistics, and there is no normalisation over the tile or the batch. So tiles can be stitched exactly.
"""

import torch
from torch import Tensor, nn


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A 2D U-Net (Ronneberger et al. 2015) whose stem can work at a reduced resolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: channels at the first level, doubled at each level below.
        depth: number of poolings.
        stem: 1, 2 or 4; the first convolution has this stride, and the logits are brought back by as much.
            A stem of 2 needs a quarter of the time and sees twice as far.
    """

    def __init__(self, in_channels: int, out_channels: int, features: int, depth: int, stem: int = 1):
        super().__init__()
        widths = [features * 2**level for level in range(depth + 1)]
        self.depth, self.stem_stride = depth, stem
        self.stem = nn.Conv2d(in_channels, features, stem, stride=stem) if stem > 1 else nn.Identity()
        first = features if stem > 1 else in_channels
        self.down = nn.ModuleList(
            _double_convolution(i, o) for i, o in zip([first, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(depth)
        )
        self.merge = nn.ModuleList(
            _double_convolution(2 * widths[level], widths[level]) for level in range(depth)
        )
        self.head = nn.Sequential(
            nn.Conv2d(features, out_channels * stem**2, 1),
            nn.PixelShuffle(stem) if stem > 1 else nn.Identity(),
        )

    @property
    def step(self) -> int:
        """Input sizes must be multiples of this many pixels."""
        return int(self.stem_stride * 2**self.depth)

    @property
    def halo(self) -> int:
        """Pixels that a block needs on each side: the receptive field's radius, rounded up to `step`.

        Each level has two 3x3 convolutions on the way down and, but for the lowest, two on the way up;
        pooling and its inverse reach less than one pixel of the level below.
        """
        pixels = sum((4 if level < self.depth else 2) * 2**level for level in range(self.depth + 1))
        reach = self.stem_stride * (pixels + 2**self.depth)
        return -(-reach // self.step) * self.step

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, out_channels, y, x)` of `x`, `(batch, in_channels, y, x)`."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for i in range(self.depth):
            level = self.depth - 1 - i
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], 1))
        return self.head(x)
