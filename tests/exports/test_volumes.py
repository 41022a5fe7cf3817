"""Packages of networks in 3D: for bioimage.io, for ilastik's tiles, and for ZEN."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trained import as_trained

from shallow2deep.errors import InputError
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.czann import write_czann
from shallow2deep.exports.packages import load_package, read_package
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.exports.tiling import Tiling, predict_tiled, problems_for_ilastik
from shallow2deep.exports.verification import check_package, compare_with
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.settings import AuthorSettings, CitationSettings, NetworkSettings

NETWORK = NetworkSettings(features=2, depth=1, stem=1)
SPEC = ModelSpec.of("enhancer", (Output("nuclei"),), NETWORK, 3, (30, 10, 10), voxel_size=(30.0, 10.0, 10.0))
INFO = PackageInfo(
    name="tiny enhancer in 3D",
    description="A tiny one.",
    authors=(AuthorSettings(name="A. Tester"),),
    licence="CC0-1.0",
    cite=(CitationSettings(text="None", url="https://example.org"),),
    tags=("nuclei",),
    documentation="# A tiny one\n\n## Validation\n\nNone.",
)


def made(spec: ModelSpec = SPEC) -> UNet:
    torch.manual_seed(0)
    return as_trained(spec.build())


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, *shape), np.float32)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "tiny.zip"
    return write_package(path, made(), SPEC, INFO, volume(20, 50, 45), np.zeros((9, 9), np.uint8))


def test_each_axis_has_sizes_and_a_halo_of_its_own(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        rdf = yaml.safe_load(archive.read("rdf.yaml"))
    given, made_of = rdf["inputs"][0]["axes"], rdf["outputs"][0]["axes"]
    assert [a.get("id", a["type"]) for a in given] == ["batch", "channel", "z", "y", "x"]
    network = made()
    assert network.step == (1, 2, 2)
    assert [axis["size"]["step"] for axis in given[2:]] == list(network.step)
    assert [axis["halo"] for axis in made_of[2:]] == list(network.halo)
    assert network.halo[0] < network.halo[1]
    assert problems_for_ilastik(rdf) == []
    assert read_package(package).spec == SPEC


@pytest.mark.parametrize("shape", [(70, 21, 33), pytest.param((70, 41, 81), marks=pytest.mark.slow)])
def test_package_predicts_what_was_trained_whole_and_in_tiles_of_ilastik(
    package: Path, shape: tuple[int, ...]
) -> None:
    """Tiles have 64 pixels or more along each axis, so there are several."""
    x = volume(*shape)
    assert min(Tiling.of(made()).tile) >= 64
    assert compare_with(package, made(), SPEC, x) < 1e-5
    network, spec = load_package(package)
    assert (spec.ndim, spec.strides) == (3, ((1, 2, 2),))
    whole = predict_with_network(network, x)
    tiled = predict_tiled(lambda block: torch.sigmoid(network(block)), x, Tiling.of(made()))
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bioimageio_runs_it_and_gets_the_same(package: Path) -> None:
    """But near borders, around which it mirrors what the network pads with zeros."""
    core = pytest.importorskip("bioimageio.core", reason="the extra export")
    check_package(package)
    network = made()
    size = Tiling.of(network).min
    found = core.predict(model=package, inputs=volume(*size)[None])
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(volume(*size))[None])).numpy()
    p = np.asarray(next(iter(found.members.values())).data)
    inner = (..., *(slice(n, -n) for n in network.halo))
    assert np.abs(p - expected)[inner].max() < 1e-5


def test_networks_in_3d_for_zen(tmp_path: Path) -> None:
    pytest.importorskip("czmodel", reason="the extra czann")
    spec = ModelSpec.of(
        "segmentor", (Output("nuclei"),), NETWORK, 3, (30, 10, 10), normalisation=(100.0, 30.0)
    )
    network, classes = made(spec), ("background", "nuclei")
    with pytest.raises(InputError, match="depth"):
        write_czann(tmp_path / "a.czann", network, spec, classes, 32, value_range=255)
    with pytest.raises(InputError, match="along z"):
        write_czann(tmp_path / "a.czann", network, spec, classes, 32, value_range=255, depth=3)
    path = write_czann(tmp_path / "a.czann", network, spec, classes, 32, value_range=255, depth=12)
    with zipfile.ZipFile(path) as archive:
        said = json.loads(archive.read("model.json"))
    assert said["MinOverlap"][-3:] == [2 * halo for halo in network.halo]
