"""Networks of the user's own: checked, stored with their source, and run for those who trust it alone."""

from pathlib import Path

import pytest
import torch

from shallow2deep.errors import InputError
from shallow2deep.networks import own
from shallow2deep.networks.model import ModelSpec, load_model, load_spec, save_model
from shallow2deep.networks.own import OwnNetwork, trust_files
from shallow2deep.networks.sizes import NetworkSizes
from shallow2deep.outputs import Output
from shallow2deep.settings import NetworkSettings

SOURCE = '''
from torch import nn

class Dilated(nn.Module):
    """Two convolutions, the second of which skips pixels."""

    step, halo = (4, 4), (4, 4)

    def __init__(self, in_channels, out_channels, features, strides, skip=3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU(),
            nn.Conv2d(features, out_channels, 3, padding=skip, dilation=skip),
        )

    def forward(self, x):
        return self.layers(x)
'''
BROKEN = {
    "gave": ("return self.layers(x)", "return self.layers(x)[..., 1:]"),
    "differs by .* between a part and the whole": ("halo = (4, 4), (4, 4)", "halo = (4, 4), (0, 0)"),
    "not finite, or differ from time to time": ("self.layers(x)", "self.layers(nn.Dropout().train()(x))"),
    "is no torch module with step and halo": ("step, halo =", "step, margin ="),
    r"fails \(NameError": ("super().__init__()", "super().__init__(); no_such_name"),
    r"fails \(SyntaxError": ("class Dilated", "class 3"),
    "fails on .*mat": ("return self.layers(x)", "return x.mat()"),
}  # fmt: skip


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_trusted", set())


def settings_of(folder: Path, source: str = SOURCE, **arguments: object) -> NetworkSettings:
    (folder / "net.py").write_text(source)
    return NetworkSettings(file=f"{folder}/net.py:Dilated", arguments=arguments, features=4)


def spec_of(settings: NetworkSettings) -> ModelSpec:
    return ModelSpec.of("enhancer", (Output(None),), settings)


@pytest.mark.usefixtures("untrusted")
def test_it_is_run_for_those_alone_who_named_or_trust_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, skip=2)
    spec = spec_of(settings)
    with pytest.raises(InputError, match="use --trust if you know them"):
        spec.build()
    trust_files(settings)
    network = spec.build().eval()
    save_model(tmp_path / "model", network, spec)
    loaded, read = load_model(tmp_path / "model")
    x = torch.rand(1, 1, 12, 16)
    assert read == spec
    assert torch.equal(loaded(x), network(x))
    own._trusted.clear()
    (tmp_path / "net.py").unlink()
    with pytest.raises(InputError, match="use --trust"):
        load_model(tmp_path / "model")
    load_spec(tmp_path / "model").layers.allow(False)
    with pytest.raises(InputError, match="use --trust"):
        load_model(tmp_path / "model")
    load_spec(tmp_path / "model").layers.allow(True)
    assert torch.equal(load_model(tmp_path / "model")[0](x), network(x))


def test_sizes_are_its_own(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    trust_files(settings)
    sizes = NetworkSizes.of(spec_of(settings))
    assert (sizes.step, sizes.halo, sizes.receptive_field) == ((4, 4), (4, 4), (9, 9))
    assert sizes.parameters == sum(p.numel() for p in spec_of(settings).build().parameters())


@pytest.mark.parametrize("problem", BROKEN)
def test_what_does_not_work_is_told_before_training(problem: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SOURCE.replace(*BROKEN[problem]))
    trust_files(settings)
    with pytest.raises(InputError, match=problem):
        made = OwnNetwork.named(str(settings.file), {})
        made.check(made.build(1, 1, 4, ((2, 2),)), 1, 1)


def test_one_that_works_passes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    trust_files(settings)
    spec = spec_of(settings)
    assert spec.layers.own is not None
    spec.layers.own.check(spec.build(), 1, 1)


@pytest.mark.parametrize("name", ["net.py", "net.txt:Net", "missing.py:Net", "net.py:1+1", "net.py:"])
def test_names_that_name_no_class(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("")
    with pytest.raises(InputError, match=r"FILE.py:CLASS was expected|not readable"):
        OwnNetwork.named(f"{tmp_path}/{name}", {})


def test_one_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("#" * (own._MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than"):
        OwnNetwork.named(f"{tmp_path}/net.py:Net", {})
