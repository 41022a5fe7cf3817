"""Each kind of network: blocks join, what is told of it holds, it is stored and read back."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import as_trained

from shallow2deep.errors import DamagedFileError
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.networks.sizes import NetworkSizes
from shallow2deep.networks.unet import SqueezeExcitation
from shallow2deep.outputs import Output
from shallow2deep.settings import NetworkSettings

KINDS = ("unet", "residual", "residual-se", "attention", "unet++")
VOXELS = {2: None, 3: (30, 10, 10)}


def spec_of(ndim: int = 2, **network: object) -> ModelSpec:
    sizes = {"features": 4, "depth": 2, "stem": 2 if ndim == 2 else 1}
    settings = NetworkSettings.model_validate(sizes | network)
    return ModelSpec.of("enhancer", (Output(None),), settings, ndim, VOXELS[ndim])


def made(spec: ModelSpec, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return as_trained(spec.build())


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_join_to_the_whole_and_batches_do_not_matter(kind: str, ndim: int) -> None:
    network = made(spec_of(ndim, kind=kind, depth=4 - ndim))
    image = np.random.default_rng(0).random({2: (1, 50, 33), 3: (1, 7, 20, 15)}[ndim], np.float32)
    whole = predict_with_network(network, image, (64,) * ndim)
    assert (
        np.abs(predict_with_network(network, image, {2: (20, 16), 3: (4, 12, 8)}[ndim]) - whole).max() < 1e-5
    )
    x = torch.rand(3, 1, *(16,) * ndim)
    with torch.inference_mode():
        assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"norm": "group"}, {"kind": "residual-se", "squeeze": "both"}], ids=["group", "squeeze"]
)
def test_what_sees_a_whole_tile_says_so(changes: dict[str, str]) -> None:
    spec = spec_of(**changes)
    assert not spec.layers.is_local
    assert all(spec_of(kind=kind).layers.is_local for kind in KINDS)
    network = made(spec)
    for module in network.modules():
        if isinstance(module, SqueezeExcitation) and module.channel is not None:
            module.channel[0].weight.data *= 50  # as training may make them
    image = np.random.default_rng(0).random((1, 200, 100), np.float32) * np.linspace(0, 5, 100, dtype="f")
    whole = predict_with_network(network, image, (256, 256))
    assert np.abs(predict_with_network(network, image, (32, 32)) - whole).max() > 1e-4


@pytest.mark.parametrize(
    ("kind", "ndim"),
    [
        *((kind, 2) for kind in KINDS[1:]),
        *((kind, 3) for kind in KINDS[1:] if kind != "unet++"),
        pytest.param("unet++", 3, marks=pytest.mark.slow),
    ],
)
def test_receptive_field_is_what_a_pixel_depends_on(kind: str, ndim: int) -> None:
    """Of each pixel of a step the gradient, by an activation that none is without."""
    depth = 1 if ndim == 3 and kind != "unet++" else 2
    spec = spec_of(ndim, kind=kind, activation="silu", depth=depth)
    sizes, network = NetworkSizes.of(spec), made(spec).double()
    side = [2 * halo + step for halo, step in zip(sizes.halo, sizes.step, strict=True)]
    fields, reaches = np.zeros(ndim, int), np.zeros(ndim, int)
    for offset in range(max(sizes.step)):
        pixel = [halo + offset % step for halo, step in zip(sizes.halo, sizes.step, strict=True)]
        seen = np.zeros(side)
        for seed in range(2):  # the largest of a pooling alone has a gradient
            torch.manual_seed(seed)
            x = torch.rand(1, 1, *side, dtype=torch.float64, requires_grad=True)
            network(x)[(0, 0, *pixel)].backward()
            assert x.grad is not None
            seen += x.grad[0, 0].abs().numpy()
        for axis, places in enumerate(np.nonzero(seen)):
            low, high = int(places.min()), int(places.max())
            fields[axis] = max(fields[axis], high - low + 1)
            reaches[axis] = max(reaches[axis], pixel[axis] - low, high - pixel[axis])
    assert tuple(fields) == sizes.receptive_field
    assert tuple(reaches) == sizes.border
    assert all(border <= halo for border, halo in zip(sizes.border, sizes.halo, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_levels_tell_of_all_weights(kind: str) -> None:
    spec = spec_of(kind=kind)
    sizes = NetworkSizes.of(spec)
    levels = sizes.levels((32, 64))
    assert [(channels, pixels) for channels, pixels, _ in levels] == [
        (4, (16, 32)), (8, (8, 16)), (16, (4, 8)),
    ]  # fmt: skip
    network = spec.build()
    ends = sum(p.numel() for part in ("stem", "head") for p in network.get_submodule(part).parameters())
    assert sum(weights for *_, weights in levels) + ends == sizes.parameters


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "silu", "gelu"])
def test_norms_and_activations(norm: str, activation: str) -> None:
    network = spec_of(norm=norm, activation=activation).build()
    names = {type(module).__name__ for module in network.modules()}
    assert ("BatchNorm2d" in names, "GroupNorm" in names) == (norm == "batch", norm == "group")
    assert activation.replace("_", "") in {name.lower() for name in names}
    loss = network(torch.rand(2, 1, 16, 16)).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_dropout_of_each_level_is_for_training_alone() -> None:
    network = spec_of(dropout=(0, 0.25)).build()
    shares = [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout2d)]
    assert shares == [0.25, 0.25, 0.25]  # two levels on the way down, one of them on the way up
    x = torch.rand(1, 1, 16, 16)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize("kind", KINDS)
def test_stored_and_read_back(kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind=kind, norm="group", activation="elu", dropout=(0.1,), squeeze="both")
    network = made(spec)
    save_model(tmp_path, network, spec)
    loaded, read = load_model(tmp_path)
    x = torch.rand(1, 1, 16, 16)
    assert read == spec
    assert torch.equal(loaded(x), network(x))


def test_a_plain_network_is_described_as_ever() -> None:
    assert spec_of().to_dict().keys() == {
        "format", "ndim", "kind", "outputs", "features", "strides", "stem", "in_channels", "voxel_size",
        "normalisation", "record", "metadata",
    }  # fmt: skip
    assert (spec_of().to_dict()["format"], spec_of(kind="residual").to_dict()["format"]) == (2, 3)


@pytest.mark.parametrize(
    "layers",
    [
        {"kind": "transformer"}, {"norm": 3}, {"dropout": [2.0]}, {"dropout": [0.1] * 99}, {"features": 3}, 7,
        {"own": {"source": "", "name": "os.system"}}, {"own": {"code": ""}}, {"own": 3},
    ],
)  # fmt: skip
def test_layers_that_no_network_has_are_refused(layers: object, tmp_path: Path) -> None:
    values = spec_of(kind="residual").to_dict() | {"layers": layers}
    with pytest.raises(DamagedFileError, match="not a model's description"):
        ModelSpec.from_dict(values, tmp_path)


def test_kinds_differ_in_weights() -> None:
    counts = {kind: NetworkSizes.of(spec_of(kind=kind)).parameters for kind in KINDS}
    assert len(set(counts.values())) == len(KINDS)
    assert dataclasses.replace(spec_of(), layers=spec_of(kind="unet++").layers) == spec_of(kind="unet++")
