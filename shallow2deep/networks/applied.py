"""Networks as they are applied on a processor: with less work than in training, for the same result."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shallow2deep.networks.unet import UNet

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


def applied(network: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """The network in evaluation mode, on its device.

    On a processor a `UNet` is copied, with its batch normalisation within the convolutions before it, and its
    weights in the layout in which the channels of a pixel lie together; both change float32 results in their
    last digits (`benchmarks/applied.py`). Other networks stay as they are.
    """
    if torch.device(device).type != "cpu" or not isinstance(network, UNet):
        return network.to(device).eval()
    found = copy.deepcopy(network).to(device).eval()
    for layers in found.modules():
        if isinstance(layers, nn.Sequential):
            _fuse(layers)
    layout = torch.channels_last if len(found.stem_stride) == 2 else torch.channels_last_3d
    return found.to(memory_format=layout)  # type: ignore[call-overload]


def _fuse(layers: nn.Sequential) -> None:
    """Joins each convolution with the batch normalisation behind it."""
    for n, (first, second) in enumerate(pairwise(layers)):
        if isinstance(first, _CONVOLUTIONS) and isinstance(second, _BatchNorm):
            layers[n], layers[n + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
