"""Networks as if they had been trained."""

import torch

from shallow2deep.networks.unet import UNet


def as_trained(network: UNet) -> UNet:
    """The network with statistics as after training, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return network.eval()
