"""Each kind of network, trained for a few steps: its package passes bioimage.io's and our own tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shallow2deep.errors import InputError
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.packages import load_package
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.exports.verification import check_package
from shallow2deep.networks import own
from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.own import trust_files
from shallow2deep.outputs import Output
from shallow2deep.settings import AuthorSettings, CitationSettings, NetworkSettings, TrainingSettings

INFO = PackageInfo(
    name="Tiny enhancer",
    description="A network for tests.",
    authors=(AuthorSettings(name="Ada Example"),),
    licence="CC-BY-4.0",
    cite=(CitationSettings(text="Some paper", doi="10.1234/abc"),),
    tags=(),
    documentation="# A tiny network\n\n## Validation\n\nNone.",
)
TORCH = ("pytorch_state_dict", "torchscript")
COVER = np.zeros((10, 20), np.uint8)
SIZES = {"features": 4, "depth": 1, "stem": 1}
NETWORKS: dict[str, dict[str, object]] = {
    "residual": {"kind": "residual", "activation": "elu"},
    "residual-se": {"kind": "residual-se", "norm": "none", "activation": "silu"},
    "attention": {"kind": "attention", "stem": 2, "activation": "leaky_relu"},
    "unet++": {"kind": "unet++", "depth": 2, "activation": "gelu", "dropout": (0.0, 0.1)},
    "of whole tiles": {"kind": "residual-se", "norm": "group", "squeeze": "both"},
}
OWN = """
from torch import nn

class Two(nn.Module):
    def __init__(self, in_channels, out_channels, features, strides, width):
        super().__init__()
        self.step, self.halo = (2, 2), (2 * (width // 2),) * 2
        self.first = nn.Conv2d(in_channels, features, width, padding=width // 2)
        self.second = nn.Conv2d(features, out_channels, width, padding=width // 2)

    def forward(self, x):
        return self.second(self.first(x).relu())
"""


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


def trained(spec: ModelSpec) -> torch.nn.Module:
    """A few steps towards what the image is itself."""
    torch.manual_seed(0)
    network, loss = spec.build(), loss_of(TrainingSettings())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    values = []
    for _ in range(6):
        x = torch.rand(2, 1, *(16,) * spec.ndim)
        value = loss(network(x), (x > 0.5).float())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    return network.eval()


def packed(path: Path, spec: ModelSpec, formats: tuple[str, ...]) -> tuple[torch.nn.Module, Path]:
    network = trained(spec)
    sample = np.random.default_rng(0).random((1, 50, 60, 40)[: spec.ndim + 1], np.float32)
    check = check_package
    return network, write_package(path, network, spec, INFO, sample, COVER, formats, check)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("other", ["torchscript", slow("onnx")])
@pytest.mark.parametrize("name", ["residual-se", *(slow(name) for name in NETWORKS if name != "residual-se")])
def test_package_of_each_kind_passes_its_own_test(name: str, other: str, tmp_path: Path) -> None:
    settings = NetworkSettings.model_validate(SIZES | NETWORKS[name])
    spec = ModelSpec.of("enhancer", (Output("disc"),), settings)
    network, path = packed(tmp_path / "package.zip", spec, ("pytorch_state_dict", other))
    loaded, read = load_package(path)
    x = torch.rand(1, 1, 32, 32)
    assert read.layers == spec.layers
    assert torch.equal(loaded(x), network(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["unet++", slow("residual")])
def test_package_of_volumes(kind: str, tmp_path: Path) -> None:
    settings = NetworkSettings.model_validate(
        {"kind": kind, "features": 2, "strides": [(1, 2, 2)], "stem": 1}
    )
    spec = ModelSpec.of("enhancer", (Output("ball"),), settings, 3)
    network, path = packed(tmp_path / "package.zip", spec, TORCH)
    x = torch.rand(1, 1, 8, 8, 8)
    assert torch.equal(load_package(path)[0](x), network(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_package_of_an_own_network_is_opened_by_those_who_trust_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.py").write_text(OWN)
    settings = NetworkSettings(file=f"{tmp_path}/two.py:Two", arguments={"width": 5}, features=4)
    trust_files(settings)
    spec = ModelSpec.of("enhancer", (Output("disc"),), settings)
    network, path = packed(tmp_path / "package.zip", spec, TORCH)
    monkeypatch.setattr(own, "_trusted", set())
    with pytest.raises(InputError, match="--trust"):
        load_package(path)
    x = torch.rand(1, 1, 32, 32)
    assert torch.equal(load_package(path, trust=True)[0](x), network(x))
