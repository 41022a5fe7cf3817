"""The U-Net: its step, its halo and its independence of the rest of the tile."""

import numpy as np
import pytest
import torch

from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.unet import UNet


def made(stem: int = 2, depth: int = 2, features: int = 4, outputs: int = 2) -> UNet:
    torch.manual_seed(0)
    network = UNet(1, outputs, features, depth, stem).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics as after training
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(("stem", "depth"), [(1, 1), (1, 3), (2, 2), (4, 1)])
def test_halo_covers_the_receptive_field(stem: int, depth: int) -> None:
    network = made(stem, depth)
    size = 2 * network.halo + 4 * network.step
    x = torch.rand(1, 1, size, size, requires_grad=True)
    middle = size // 2 // network.step * network.step
    network(x)[0, :, middle : middle + network.step, middle : middle + network.step].sum().backward()
    assert x.grad is not None
    ys = np.flatnonzero(x.grad[0, 0].abs().sum(1).numpy())
    assert ys.min() >= middle - network.halo
    assert ys.max() < middle + network.step + network.halo
    assert network.halo % network.step == 0


@pytest.mark.parametrize("shape", [(70, 93), (64, 64), (33, 200), (1, 40)])
def test_blocks_give_the_whole_image(shape: tuple[int, int]) -> None:
    network = made()
    image = np.random.default_rng(0).random((1, *shape), np.float32)
    whole = predict_with_network(network, image, (4096, 4096))
    blocked = predict_with_network(network, image, (24, 40))
    assert whole.shape == (2, *shape)
    assert np.abs(whole - blocked).max() < 1e-6


def test_result_does_not_depend_on_the_rest_of_the_batch() -> None:
    network = made()
    x = torch.rand(3, 1, 32, 32)
    assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-6)
