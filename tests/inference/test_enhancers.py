"""Enhancers for classes of their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trained import as_trained

from shallow2deep.inference.enhance import Enhancer
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.settings import EnhancedSettings, NetworkSettings

CLASSES = ("ground", "disc", "rim", "rod")
SETTINGS = EnhancedSettings(scales=(0.5, 1.0), block=(32, 32))


def enhancer(seed: int, roles: tuple[Output, ...], kept: set[int]) -> Enhancer:
    torch.manual_seed(seed)
    small = NetworkSettings(features=4, depth=1, stem=1)
    network = as_trained(ModelSpec.of("enhancer", roles, small).build())
    return Enhancer(network, roles, SETTINGS, kept=frozenset(kept))


@pytest.fixture
def three() -> tuple[Enhancers, np.ndarray]:
    """For discs, of two outputs, and for rods; none for rims. And maps of all classes."""
    discs = enhancer(0, (Output(None), Output(None, BOUNDARY)), {2, 3})
    rods = enhancer(1, (Output(None),), {1, 2})
    p = np.random.default_rng(0).random((4, 40, 24), np.float32)
    return Enhancers((discs, rods)), p / p.sum(0)


def test_each_class_by_its_own(three: tuple[Enhancers, np.ndarray]) -> None:
    several, p = three
    discs, rods = several.each
    found = several.enhance(p)
    titles = [output.title for output in several.outputs(CLASSES)]
    assert titles == ["disc boundary", "disc", "rim", "rod"]
    assert np.array_equal(found[:2], replace(discs, kept=frozenset()).enhance(p[[0, 1]]))
    assert np.array_equal(found[2], p[2])
    assert np.array_equal(found[3:], rods.enhance(p)[2:])
    on_disk = several.enhance_on_disk([one[None] for one in p])
    assert np.array_equal(np.asarray(on_disk), found)


def test_volumes(three: tuple[Enhancers, np.ndarray]) -> None:
    several, p = three
    volume = np.stack([p, p[:, ::-1]], 1)
    found = several.enhance(volume)
    assert found.shape == (4, 2, 40, 24)
    assert np.array_equal(found[:, 0], several.enhance(p))


def test_one_alone_is_as_it_is(three: tuple[Enhancers, np.ndarray]) -> None:
    several, p = three
    (discs, _) = several.each
    alone = Enhancers((discs,))
    assert np.array_equal(alone.enhance(p), discs.enhance(p))
    assert alone.outputs(CLASSES) == discs.outputs(CLASSES)
    assert not alone.need_raw
    assert Enhancers((discs, replace(discs, companion=discs.network))).need_raw
