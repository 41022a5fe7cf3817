"""Layers of another network are taken where they match, and parts can stand still."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.networks.starting import frozen_parts, require_some, take_layers
from shallow2deep.networks.unet import UNet


def net(inputs: int = 1, outputs: int = 1, features: int = 4, depth: int = 2, stem: int = 2) -> UNet:
    return UNet(inputs, outputs, features, ((2, 2),) * depth, (stem, stem))


@given(inputs=st.integers(1, 2), outputs=st.integers(1, 3), depth=st.integers(1, 3))
def test_what_matches_is_taken_and_all_else_stays(inputs: int, outputs: int, depth: int) -> None:
    network, other = net(), net(inputs, outputs, depth=depth)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    found = take_layers(network, other.state_dict())
    assert ("stem" in found.taken) == (inputs == 1)
    assert ("head.0" in found.taken) == (outputs == 1)
    assert "down.0.0" in found.taken
    for name, tensor in network.state_dict().items():
        source = other.state_dict() if name.rpartition(".")[0] in found.taken else before
        assert torch.equal(tensor, source[name])
    if (inputs, outputs, depth) == (1, 1, 2):
        assert found.left == ()


def test_nothing_in_common_is_refused() -> None:
    require_some(net(), net(outputs=2).state_dict(), "other")
    with pytest.raises(InputError, match="other: none of its layers"):
        require_some(net(), net(features=3).state_dict(), "other")


def test_parts_are_named_as_they_are() -> None:
    network = net()
    assert frozen_parts(network, ["stem", "down.1"]) == [network.stem, network.down[1]]
    for name in ("dwon", "pool", "down.7", ""):
        with pytest.raises(SettingsError, match=r"parts of this network are stem, down, down\.0"):
            frozen_parts(network, [name])
    with pytest.raises(SettingsError, match="nothing is left to train"):
        frozen_parts(network, ["stem", "down", "up", "merge", "head"])
