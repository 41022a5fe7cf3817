"""The enhancer applied: its channels, its scales, and how these are weighed."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from shallow2deep.inference import enhance as enhance_module
from shallow2deep.inference.enhance import Enhancer, stretch_between
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.io import disk_map
from shallow2deep.io.disk_map import DiskMap
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.settings import EnhancedSettings, NetworkSettings

FOREGROUND = (Output(None),)


def enhance(network: torch.nn.Module, p: np.ndarray, *scales: float) -> np.ndarray:
    return Enhancer(network, FOREGROUND, EnhancedSettings(scales=scales)).enhance(p)


def test_class_is_the_last_channel_and_not_its_boundary() -> None:
    roles = (Output(None), Output(None, BOUNDARY))
    network = ModelSpec.of("enhancer", roles, NetworkSettings(features=4, depth=1, stem=1)).build().eval()
    p = np.random.default_rng(0).random((2, 16, 16), np.float32)
    expected = predict_with_network(network, p[1:])
    enhancer = Enhancer(network, roles, EnhancedSettings(block=(16, 16), scales=(1.0,)))
    outputs = enhancer.outputs(("background", "disc"))
    assert [output.title for output in outputs] == ["disc boundary", "disc"]
    assert np.array_equal(enhancer.enhance(p), expected[::-1])


class _Count(torch.nn.Module):
    """Gives the logits of 0.3 plus a tenth of the map, and notes the sizes it was asked for."""

    step, halo = (4, 4), (4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.add(x.shape[-1])
        return torch.logit(0.3 + 0.1 * x)


def test_maps_are_resized_for_the_enhancer_and_averaged() -> None:
    p = np.zeros((2, 24, 40), np.float32)
    p[1, :, 20:] = 1
    network = _Count()
    found = enhance(network, p, 0.5, 1.0, 2.0)
    assert network.sizes == {20 + 8, 40 + 8, 80 + 8}
    assert found.shape == (1, 24, 40)
    np.testing.assert_allclose(found[0, :, :16], 0.3, atol=1e-5)
    np.testing.assert_allclose(found[0, :, 24:], 0.4, atol=1e-5)


class _RightAtFullSize(torch.nn.Module):
    """Gives the map itself, or its opposite where it has another size than 40 pixels and the halo."""

    step, halo = (4, 4), (4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logit(x if x.shape[-1] == 40 + 8 else 1 - x, 1e-6)


def test_scales_that_agree_with_the_forest_weigh_more() -> None:
    """Maps of 0.1 and 0.9: Dice of p with itself is 0.82, with its opposite 0.18; their squares weigh."""
    p = np.full((2, 40, 40), 0.1, np.float32)
    p[1, :, 20:] = 0.9
    found = enhance(_RightAtFullSize(), p, 0.5, 1.0)
    right, wrong = 0.82**2, 0.18**2
    expected = (right * 0.9 + wrong * 0.1) / (right + wrong)
    np.testing.assert_allclose(found[0, :, 30:], expected, atol=0.01)
    empty = enhance(_RightAtFullSize(), p * 0, 1.0, 1.0)
    np.testing.assert_allclose(empty, 0, atol=1e-5)


class _Smooth(torch.nn.Module):
    """Gives the logits of maps between 0.1 and 0.8, of two roles."""

    step, halo = (4, 4), (4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
        return torch.logit(torch.cat([0.1 + 0.7 * x, 0.8 - 0.7 * x], 1))


def test_parts_of_large_maps_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's own interpolation of the whole, and a mean of the whole."""
    roles, scales = (Output(None), Output(None, BOUNDARY)), (0.5, 0.7, 1.0, 1.4)
    p = np.random.default_rng(0).random((3, 203, 187), np.float32)
    monkeypatch.setattr(enhance_module, "_ROWS", 50)
    enhancer = Enhancer(
        _Smooth(), roles, EnhancedSettings(scales=scales, block=(64, 64)), kept=frozenset([2])
    )
    found = enhancer.enhance(p)
    total, weights = np.zeros((2, *p.shape[1:])), 0.0
    for scale in scales:
        size = tuple(round(n * scale) for n in p.shape[1:])
        one = resized(predict_with_network(_Smooth(), resized(p[1:2], size), (64, 64)), p.shape[1:])[::-1]
        weight = (
            (2 * (one[1] * p[1]).sum(dtype=float) + 1) / (one[1].sum(dtype=float) + p[1].sum() + 1)
        ) ** 2
        total += one * np.float64(weight)
        weights += weight
    np.testing.assert_allclose(found[:2], total / weights, atol=1e-7)
    assert np.array_equal(found[2], p[2])
    monkeypatch.undo()
    assert np.array_equal(enhancer.enhance(p), found)


def resized(p: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    maps = torch.from_numpy(p.copy())[None]
    return torch.nn.functional.interpolate(maps, size, mode="bilinear", antialias=True)[0].clamp(0, 1).numpy()


def test_no_whole_map_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's arrays are traced, torch's are not; a map here is 12 MB."""
    monkeypatch.setattr(disk_map, "_IN_MEMORY", 1)
    monkeypatch.setattr(enhance_module, "_ROWS", 64)
    maps = DiskMap((2, 1500, 2000))
    for y in range(0, 1500, 100):
        maps.write((slice(y, y + 100), slice(0, 2000)), np.full((2, 100, 2000), 0.3))
    enhancer = Enhancer(_Count(), FOREGROUND, EnhancedSettings(scales=(0.5, 1.0), block=(256, 256)))
    tracemalloc.start()
    found = enhancer.enhance_on_disk([maps.channel(n) for n in range(2)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6
    np.testing.assert_allclose(found[:, 700:701], 0.33, atol=1e-5)


class _Volume(torch.nn.Module):
    """Gives the logits of 0.3 plus a tenth of the map, and notes the sizes without the halo."""

    step, halo = (1, 2, 2), (1, 2, 2)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[int, ...]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.add(tuple(n - 2 * halo for n, halo in zip(x.shape[2:], self.halo, strict=True)))
        return torch.logit(0.3 + 0.1 * x)


def test_volumes_are_resized_along_all_axes_and_stretched_to_the_enhancers_voxels() -> None:
    p = np.zeros((2, 6, 12, 20), np.float32)
    p[1, :, :, 10:] = 1
    network, settings = _Volume(), EnhancedSettings(scales=(0.5, 1.0), block=(32, 32, 32))
    stretch = stretch_between((40.0, 10.0, 10.0), (20.0, 10.0, 10.0))
    found = Enhancer(network, FOREGROUND, settings, stretch=stretch).enhance(p)
    assert network.sizes == {(6, 6, 10), (12, 12, 20)}
    assert found.shape == (1, 6, 12, 20)
    np.testing.assert_allclose(found[..., :7], 0.3, atol=1e-5)
    np.testing.assert_allclose(found[..., 13:], 0.4, atol=1e-5)


def test_shapes_that_hardly_differ_or_are_not_known_stretch_nothing() -> None:
    assert stretch_between((22.0, 10.0, 10.0), (20.0, 10.0, 10.0)) == (1.0, 1.0, 1.0)
    assert stretch_between(None, (20.0, 10.0, 10.0)) == stretch_between((9.0, 3.0, 3.0), None)
    assert stretch_between((10.0, 10.0, 10.0), (30.0, 10.0, 10.0)) == (1 / 3, 1.0, 1.0)


def test_parts_of_large_volumes_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(0).random((2, 9, 14, 11), np.float32)
    raw = np.random.default_rng(1).random((9, 14, 11), np.float32)
    settings = EnhancedSettings(scales=(0.7, 1.4), block=(4, 4, 4))
    enhancer = Enhancer(_Volume(), FOREGROUND, settings, companion=_Companion(), stretch=(1.5, 1.0, 1.0))
    whole = enhancer.enhance(p, raw)
    monkeypatch.setattr(enhance_module, "_ROWS", 1)
    np.testing.assert_allclose(enhancer.enhance(p, raw), whole, atol=1e-6)


class _Companion(torch.nn.Module):
    """Of the map and raw beside it."""

    step, halo = (1, 2, 2), (1, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] + 0.1 * x[:, 1:]


def test_planes_across_each_axis_are_averaged() -> None:
    """A network that tells the mean of a plane: across each axis, another one."""
    p = np.random.default_rng(0).random((2, 5, 6, 7), np.float32)
    enhancer = Enhancer(_MeanOfPlane(), FOREGROUND, EnhancedSettings(scales=(1.0,), block=(8, 8, 8)))
    across = [np.broadcast_to(p[1].mean(tuple({0, 1, 2} - {a}), keepdims=True), (5, 6, 7)) for a in range(3)]
    np.testing.assert_allclose(enhancer.enhance(p)[0], across[0], atol=1e-5)
    every = replace(enhancer, planes="zyx").enhance(p)
    np.testing.assert_allclose(every[0], np.mean(across, 0), atol=1e-5)


class _MeanOfPlane(torch.nn.Module):
    step, halo = (1, 1), (0, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logit(x.mean((2, 3), keepdim=True).expand_as(x), 1e-6)
