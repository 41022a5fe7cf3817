"""The U-Net: its step, its halo and its independence of the rest of the tile."""

import numpy as np
import pytest
import torch
from trained import as_trained

from shallow2deep.networks.unet import UNet


def made(stem: int = 2, depth: int = 2) -> UNet:
    torch.manual_seed(0)
    return as_trained(UNet(1, 2, 4, ((2, 2),) * depth, (stem, stem)))


@pytest.mark.parametrize(("stem", "depth"), [(1, 1), (1, 3), (2, 2), (4, 1)])
def test_halo_covers_the_receptive_field(stem: int, depth: int) -> None:
    network = made(stem, depth)
    (halo, same), (step, same_step) = network.halo, network.step
    assert (halo, step) == (same, same_step)
    size = 2 * halo + 4 * step
    x = torch.rand(1, 1, size, size, requires_grad=True)
    middle = size // 2 // step * step
    network(x)[0, :, middle : middle + step, middle : middle + step].sum().backward()
    assert x.grad is not None
    ys = np.flatnonzero(x.grad[0, 0].abs().sum(1).numpy())
    assert ys.min() >= middle - halo
    assert ys.max() < middle + step + halo
    assert halo % step == 0


def test_result_does_not_depend_on_the_rest_of_the_batch() -> None:
    network = made()
    x = torch.rand(3, 1, 32, 32)
    assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-6)
