"""Networks of volumes: what follows from voxels, blocks that join exactly, and descriptions that load."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import as_trained

from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.networks.strides import about_cubes, strides_for
from shallow2deep.networks.unet import UNet, kernels_of
from shallow2deep.outputs import Output
from shallow2deep.settings import NetworkSettings

SHAPES = [(10.0, 10.0, 10.0), (22.0, 10.0, 10.0), (50.0, 4.6, 4.6), (4.0, 10.0, 10.0)]


def made(strides: tuple[tuple[int, ...], ...]) -> UNet:
    torch.manual_seed(0)
    return as_trained(UNet(1, 2, 4, strides, (1,) * len(strides[0])))


@given(st.lists(st.floats(1, 1000), min_size=3, max_size=3), st.integers(1, 6))
def test_poolings_never_take_voxels_farther_from_cubes(size: list[float], depth: int) -> None:
    sizes = np.array(size)
    for stride in strides_for(size, depth):
        assert set(stride) <= {1, 2}
        assert stride[int(sizes.argmin())] == 2
        after = sizes * stride
        assert after.max() / after.min() <= max(sizes.max() / sizes.min(), 2) + 1e-9
        if about_cubes(sizes):
            assert stride == (2, 2, 2)
        sizes = after


def test_strides_and_kernels_of_known_voxels() -> None:
    assert strides_for((50, 4.6, 4.6), 4) == ((1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert strides_for((4, 10, 10), 3) == ((2, 1, 1), (2, 2, 2), (2, 2, 2))
    assert kernels_of(((1, 2, 2), (2, 2, 2)), 3) == [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    spec = ModelSpec.of("enhancer", (Output(None),), NetworkSettings(depth=2, stem=1), 3, (22, 10, 10))
    assert (spec.strides, spec.step) == (((1, 2, 2), (2, 2, 2)), (2, 4, 4))
    network = spec.build()
    assert network.down[0][0].kernel_size == (1, 3, 3)  # type: ignore[index, union-attr]
    assert not spec.is_isotropic
    set_by_hand = NetworkSettings(strides=((2, 2, 2),), stem=1)
    assert ModelSpec.of("enhancer", (), set_by_hand, 3, (22, 10, 10)).strides == ((2, 2, 2),)


@pytest.mark.parametrize("shape", SHAPES)
def test_halo_covers_the_receptive_field_along_each_axis(shape: tuple[float, ...]) -> None:
    network = made(strides_for(shape, 2))
    size = [2 * halo + 3 * step for halo, step in zip(network.halo, network.step, strict=True)]
    x = torch.rand(1, 1, *size, requires_grad=True)
    middle = [n // 2 // step * step for n, step in zip(size, network.step, strict=True)]
    inner = tuple(slice(m, m + step) for m, step in zip(middle, network.step, strict=True))
    network(x)[(0, slice(None), *inner)].sum().backward()
    assert x.grad is not None
    for axis, (m, halo, step) in enumerate(zip(middle, network.halo, network.step, strict=True)):
        others = tuple(n for n in range(3) if n != axis)
        seen = np.flatnonzero(x.grad[0, 0].abs().sum(others).numpy())
        assert m - halo <= seen.min() <= seen.max() < m + step + halo


@settings(max_examples=12)
@given(
    st.sampled_from([*SHAPES, (10.0, 10.0)]),
    st.lists(st.integers(1, 19), min_size=3, max_size=3),
    st.lists(st.integers(1, 12), min_size=3, max_size=3),
)
def test_blocks_join_to_the_whole(shape: tuple[float, ...], size: list[int], block: list[int]) -> None:
    ndim = len(shape)
    network = made(strides_for(shape, 1))
    image = np.random.default_rng(0).random((1, *size[:ndim]), np.float32)
    whole = predict_with_network(network, image, (64,) * ndim)
    assert whole.shape == (2, *size[:ndim])
    assert np.abs(predict_with_network(network, image, tuple(block[:ndim])) - whole).max() < 1e-5


def test_volumes_and_old_networks_are_read_back(tmp_path: Path) -> None:
    spec = ModelSpec.of(
        "enhancer", (Output(None),), NetworkSettings(features=2, depth=2, stem=1), 3, SHAPES[1]
    )
    network = spec.build()
    save_model(tmp_path, network, spec)
    loaded, read = load_model(tmp_path)
    assert (read, read.ndim, loaded.strides) == (spec, 3, spec.strides)
    old = {
        "format": 1, "kind": "enhancer", "outputs": ["foreground"], "features": 4, "depth": 2, "stem": 2,
        "in_channels": 1, "voxel_size": None, "record": {},
    }  # fmt: skip
    flat = ModelSpec.from_dict(old, tmp_path)
    assert (flat.ndim, flat.strides, flat.step) == (2, ((2, 2), (2, 2)), (8, 8))
    assert flat.build().down[0][0].kernel_size == (3, 3)  # type: ignore[index, union-attr]
