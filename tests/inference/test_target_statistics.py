"""Companions whose batch normalisation has seen the target."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from trained import as_trained

from shallow2deep.inference.enhance import Enhancer
from shallow2deep.inference.target_statistics import companion_inputs, random_windows, with_statistics_of
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.settings import EnhancedSettings


def network(channels: int = 2) -> UNet:
    torch.manual_seed(0)
    return as_trained(UNet(channels, 1, 4, [(2, 2)], (2, 2)))


def images(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(3, 2, (2, 16, 24)).astype(np.float32) for _ in range(count)]


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def test_all_of_the_target_is_what_it_sees() -> None:
    net, seen = network(), images()
    found = with_statistics_of(net, seen, 1.0)
    first = nn.Sequential(net.stem, net.down[0][0])
    with torch.no_grad():
        behind = [first(torch.from_numpy(x)[None])[0].flatten(1) for x in seen]
    norm = norms(found)[0]
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(1) for x in behind]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var(1) for x in behind]).mean(0))
    assert not any(module.training for module in found.modules())


def test_between_what_was_learned_and_what_is_seen() -> None:
    net, seen = network(), images()
    states = [with_statistics_of(net, seen, share).state_dict() for share in (0.0, 0.25, 1.0)]
    for name, learned in net.state_dict().items():
        torch.testing.assert_close(states[0][name], learned)
        if learned.is_floating_point():
            torch.testing.assert_close(states[1][name], 0.75 * learned + 0.25 * states[2][name])
    assert not torch.allclose(norms(net)[0].running_mean, states[2]["down.0.1.running_mean"])


def test_of_nothing_nothing_is_learned() -> None:
    net = network()
    for name, value in with_statistics_of(net, [], 0.5).state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


def test_a_network_without_batch_normalisation_stays_as_it_is() -> None:
    net = UNet(2, 1, 4, [(2, 2)], (2, 2), norm="none")
    for name, value in with_statistics_of(net, images(), 1.0).state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


@pytest.mark.parametrize(("shape", "ndim"), [((700, 90), 2), ((5, 300, 100), 3)])
def test_windows_lie_in_their_images_and_repeat(shape: tuple[int, ...], ndim: int) -> None:
    shapes = [shape, (1,) * ndim, tuple(3 * n for n in shape)]
    found = random_windows(shapes, 0, "companion")
    assert found == random_windows(shapes, 0, "companion")
    assert found != random_windows(shapes, 1, "companion")
    assert [image for image, _ in found] == sorted(image for image, _ in found)
    for image, window in found:
        assert all(0 <= part.start < part.stop <= n for part, n in zip(window, shapes[image], strict=True))


def test_windows_come_at_every_scale_in_whole_steps() -> None:
    settings = EnhancedSettings(scales=(0.5, 1.0))
    enhancer = Enhancer(network(1), (Output(None),), settings, companion=network())
    rng = np.random.default_rng(0)
    p, raw = rng.random((1, 40, 50), np.float32), rng.normal(0, 3, (1, 40, 50)).astype(np.float32)
    found = list(companion_inputs(enhancer, p, raw, (slice(0, 40), slice(10, 39))))
    assert [x.shape for x in found] == [(2, 20, 12), (2, 40, 28)]
    np.testing.assert_array_equal(found[1], np.concatenate([p, raw])[:, :, 10:38])
    one_step = companion_inputs(enhancer, p, raw, (slice(0, 4), slice(0, 7)))
    assert [x.shape for x in one_step] == []  # batch normalisation has no variance of one pixel
    small = companion_inputs(enhancer, p, raw, (slice(0, 40), slice(0, 5)))
    assert [x.shape for x in small] == [(2, 40, 4)]


def test_as_many_windows_of_an_image_as_it_is_large() -> None:
    counts = [
        sum(image for image, _ in random_windows([(600, 600), (600, 1800)], seed, stage)) / 12
        for seed, stage in product(range(20), ("a", "b"))
    ]
    assert np.mean(counts) == pytest.approx(0.75, abs=0.1)
