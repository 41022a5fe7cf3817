"""Whole images through networks, block by block."""

import numpy as np
import pytest
import torch
from trained import as_trained

from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.unet import UNet


@pytest.mark.parametrize("shape", [(70, 93), (64, 64), (33, 200), (1, 40)])
def test_blocks_give_the_whole_image(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = as_trained(UNet(1, 2, 4, ((2, 2), (2, 2)), (2, 2)))
    image = np.random.default_rng(0).random((1, *shape), np.float32)
    whole = predict_with_network(network, image, (4096, 4096))
    blocked = predict_with_network(network, image, (24, 40))
    assert whole.shape == (2, *shape)
    assert np.abs(whole - blocked).max() < 1e-6
