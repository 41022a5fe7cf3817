"""Networks as they are applied: the same result by less work."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from trained import as_trained

from shallow2deep.networks.applied import applied
from shallow2deep.networks.unet import UNet

KINDS = ("unet", "residual", "residual-se", "attention", "unet++")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("strides", "stem"), [([(2, 2)] * 2, (2, 2)), ([(1, 2, 2), (2, 2, 2)], (1, 1, 1))])
def test_the_result_is_the_same(kind: str, strides: list[tuple[int, ...]], stem: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = as_trained(UNet(2, 2, 4, strides, stem, kind=kind))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = applied(network)
    x = torch.rand(1, 2, *(16,) * len(stem))
    with torch.inference_mode():
        torch.testing.assert_close(found(x), network(x), atol=1e-5, rtol=1e-5)
    assert any(isinstance(module, _BatchNorm) for module in network.modules())
    assert not any(isinstance(module, _BatchNorm) for module in found.modules())
    assert (found.step, found.halo) == (network.step, network.halo)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_of_other_norms_too() -> None:
    network = UNet(1, 1, 4, [(2, 2)], (2, 2), norm="group").eval()
    x = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(applied(network)(x), network(x))


def test_other_networks_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1))
    assert applied(network) is network
    assert not network.training
