"""The .czann: what it tells ZEN, what its network gives, and what is refused."""

import copy
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports.czann import value_range_of, write_czann
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import of_foreground
from shallow2deep.settings import NetworkSettings

MEAN, DEVIATION = 110.0, 37.5


@pytest.fixture
def _packages() -> None:
    for name in ("czmodel", "onnxruntime"):
        pytest.importorskip(name)


def made(stem: int = 1, outputs: tuple[str, ...] = ("disc",)) -> tuple[UNet, ModelSpec]:
    torch.manual_seed(stem)
    network = NetworkSettings(features=4, depth=2, stem=stem)
    spec = ModelSpec.of("segmentor", of_foreground(outputs), network, normalisation=(MEAN, DEVIATION))
    network = spec.build()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics as after training
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.05, 0.3)
    return network.eval(), spec


def grey(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).normal(MEAN, 2 * DEVIATION, shape).clip(0, 255).astype(dtype)


def expected(network: UNet, raw: np.ndarray) -> np.ndarray:
    """Probabilities `(y, x, classes)` of a 2D image, by our own way of prediction."""
    image = ((raw.astype(np.float64) - MEAN) / DEVIATION).astype(np.float32)[None]
    maps = list(predict_with_network(network, image))
    all_maps = [1 - np.max(maps, axis=0), *maps]
    return np.stack([p / sum(all_maps) for p in all_maps], axis=-1)


def unpacked(path: Path, folder: Path) -> tuple[Any, Any]:
    """The description, and a function that applies the network."""
    import onnxruntime
    from czmodel.pytorch import DefaultConverter

    metadata, model = DefaultConverter().unpack_model(str(path), folder)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return metadata, lambda x: session.run(None, {"input": x})[0]


@pytest.mark.usefixtures("_packages")
@pytest.mark.parametrize(
    ("stem", "tile", "outputs", "dtype"),
    [(1, 64, ("disc",), np.uint8), (2, 128, ("disc", "rim", "dust"), np.uint16)],
)
def test_tiles_join_to_the_prediction_of_the_whole_image(
    stem: int, tile: int, outputs: tuple[str, ...], dtype: type, tmp_path: Path
) -> None:
    network, spec = made(stem, outputs)
    value_range = value_range_of(dtype)
    path = tmp_path / "discs.czann"
    classes = ["background", *outputs]
    assert write_czann(path, network, spec, classes, tile, value_range=value_range) == path
    metadata, apply = unpacked(path, tmp_path / "unpacked")

    shared = metadata.min_overlap[0]
    margin, stride = shared // 2, tile - shared
    raw = grey((tile + stride, tile + 2 * stride), dtype)
    whole = expected(network, raw)
    assert whole.std(axis=(0, 1)).min() > 0.01  # there is something to compare
    x = (raw / value_range).astype(np.float32)
    for top in (0, stride):
        for left in (0, stride, 2 * stride):
            found = apply(x[None, top : top + tile, left : left + tile, None])[0]
            assert found.shape == (tile, tile, len(classes))
            assert found.dtype == np.float32
            np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
            inner = (slice(margin, tile - margin),) * 2
            reference = whole[top + margin : top + tile - margin, left + margin : left + tile - margin]
            np.testing.assert_allclose(found[inner], reference, atol=2e-5)


@pytest.mark.usefixtures("_packages")
@pytest.mark.parametrize(("stem", "tile"), [(1, 64), (2, 112)])
def test_3d_is_2d_on_each_plane(stem: int, tile: int, tmp_path: Path) -> None:
    network, spec = made(stem, ("disc", "rim"))
    classes = ["background", "disc", "rim"]
    path = write_czann(tmp_path / "3d.czann", network, spec, classes, tile, value_range=255, depth=3)
    metadata, apply = unpacked(path, tmp_path / "unpacked")
    assert metadata.input_shape == [3, tile, tile, 1]
    assert metadata.output_shape == [3, tile, tile, 3]
    halo, _ = network.halo
    assert metadata.min_overlap == [0, 2 * halo, 2 * halo]

    raw = grey((2, 3, tile, tile))  # two tiles at a time
    found = apply((raw / 255).astype(np.float32)[..., None])
    assert found.shape == (2, 3, tile, tile, 3)
    inner = (slice(halo, -halo),) * 2
    for batch in range(2):
        for z in range(3):
            reference = expected(network, raw[batch, z])
            np.testing.assert_allclose(found[batch, z][inner], reference[inner], atol=2e-5)
    assert np.ptp(found[:, :, tile // 2, tile // 2, 1]) > 1e-3  # planes differ


@pytest.mark.usefixtures("_packages")
def test_description(tmp_path: Path) -> None:
    network, spec = made(2)
    path = write_czann(
        tmp_path / "new folder" / "discs.czann",
        network.train(),
        spec,
        ["background", "bright disc"],
        tile=144,
        name="Discs",
        licence_text="CC0\n",
        value_range=255,
    )
    assert network.training, "the network was changed"
    metadata, _ = unpacked(path, tmp_path / "unpacked")
    assert metadata.model_type.value == "SingleClassSemanticSegmentation"
    assert metadata.classes == ["background", "bright disc"]
    assert metadata.input_shape == [144, 144, 1]
    assert metadata.output_shape == [144, 144, 2]
    assert metadata.min_overlap == [2 * halo for halo in network.halo] == [96, 96]
    assert metadata.model_name == "Discs"
    with zipfile.ZipFile(path) as file:
        assert sorted(file.namelist()) == ["license.txt", "model.json", "model.model"]
        assert file.read("license.txt") == b"CC0\n"
        assert json.loads(file.read("model.json"))["Classes"] == ["background", "bright disc"]
    assert [p.name for p in path.parent.iterdir()] == ["discs.czann"]


@pytest.mark.usefixtures("_packages")
def test_only_the_batch_is_free(tmp_path: Path) -> None:
    import onnxruntime

    network, spec = made()
    classes = ["background", "disc"]
    for depth, size in ((None, [64, 64]), (2, [2, 64, 64])):
        path = write_czann(
            tmp_path / "d.czann", network, spec, classes, 64, overlap=32, value_range=255, depth=depth
        )
        with zipfile.ZipFile(path) as file:
            session = onnxruntime.InferenceSession(file.read("model.model"))
            assert json.loads(file.read("model.json"))["MinOverlap"][-2:] == [32, 32]
        for (tensor,), channels in ((session.get_inputs(), 1), (session.get_outputs(), 2)):
            assert isinstance(tensor.shape[0], str)
            assert tensor.shape[1:] == [*size, channels]
            assert tensor.type == "tensor(float)"


@pytest.mark.usefixtures("_packages")
def test_same_model_same_bytes(tmp_path: Path) -> None:
    network, spec = made()

    def written(name: str, value_range: float = 255, network: UNet = network) -> bytes:
        path = tmp_path / f"{name}.czann"
        classes = ["background", "disc"]
        return write_czann(path, network, spec, classes, 64, value_range=value_range).read_bytes()

    def identity(name: str) -> str:
        with zipfile.ZipFile(tmp_path / f"{name}.czann") as file:
            return json.loads(file.read("model.json"))["Id"]

    assert written("a") == written("b")
    with zipfile.ZipFile(tmp_path / "a.czann") as file:  # else the two seconds of a zip's clock hide a date
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    written("other range", 65535)
    written("other weights", network=made(stem=1, outputs=("disc",))[0].apply(_shifted))
    assert len({identity(name) for name in ("a", "other range", "other weights")}) == 3


def _shifted(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
        module.bias.data += 0.5


@pytest.mark.usefixtures("_packages")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("weights", r"differs from the trained one by 0\.\d+"),
        ("no network", "does not run"),
        ("description", "reads back as"),
    ],
)
def test_a_wrong_conversion_is_not_kept(
    fault: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from czmodel.pytorch import DefaultConverter

    network, spec = made()
    path = tmp_path / "discs.czann"
    path.write_bytes(b"earlier")
    right = DefaultConverter.convert_from_model_spec

    def wrong(self: Any, model_spec: Any, output_path: str, output_name: str, **others: Any) -> None:
        if fault == "weights":
            model_spec.model = copy.deepcopy(model_spec.model).apply(_shifted)
        if fault == "description":
            model_spec.model_metadata = model_spec.model_metadata._replace(classes=["disc", "background"])
        right(self, model_spec=model_spec, output_path=output_path, output_name=output_name, **others)
        if fault == "no network":
            file = Path(output_path) / f"{output_name}.czann"
            with zipfile.ZipFile(file) as whole:
                description = whole.read("model.json")
            with zipfile.ZipFile(file, "w") as broken:
                broken.writestr("model.json", description)
                broken.writestr("model.model", b"nothing")

    monkeypatch.setattr(DefaultConverter, "convert_from_model_spec", wrong)
    with pytest.raises(Shallow2DeepError, match=message) as caught:
        write_czann(path, network, spec, ["background", "disc"], 64, value_range=255)
    assert not isinstance(caught.value, InputError)
    assert [p.name for p in tmp_path.iterdir()] == ["discs.czann"]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "enhancer"}, "needs a forest's map, which ZEN cannot give"),
        ({"kind": "source_net"}, "ZEN gives tiles"),
        ({"normalisation": None}, "a constant mean and deviation were expected"),
        ({"in_channels": 3}, "has 3 channels"),
        ({"normalisation": (300.0, 20.0)}, "mean 300 is not within 0 and the value range 255"),
        ({"normalisation": (-0.1, 1.0)}, "mean -0.1 is not within"),
        ({"outputs": of_foreground(("disc", "rim"))}, "3 different names were expected"),
    ],
)
def test_networks_that_zen_cannot_use(changes: dict, message: str, tmp_path: Path) -> None:
    network, spec = made()
    with pytest.raises(InputError, match=message):
        write_czann(
            tmp_path / "d.czann", network, replace(spec, **changes), ["bg", "disc"], 64, value_range=255
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile": 70}, "multiple of 4 that is larger than the overlap of 48; give 72$"),
        ({"tile": 48}, "give 52$"),
        ({"tile": 0}, "give 52$"),
        ({"tile": -4, "overlap": 0}, "give 4$"),
        ({"overlap": 64}, "larger than the overlap of 64; give 68$"),
        ({"overlap": 31}, "give an even one, such as 32$"),
        ({"overlap": -2}, "give an even one, such as 0$"),
        ({"depth": 0}, "give at least 1"),
        ({"tile": 4 * 10**6}, "needs .* GB"),
        ({"value_range": 0.0}, "not within 0 and the value range 0"),
        ({"value_range": float("nan")}, "the value range nan"),
        ({"classes": ["background"]}, "2 different names"),
        ({"classes": ["disc", "disc"]}, "2 different names"),
        ({"classes": ["", "disc"]}, "2 different names"),
        ({"name_of_file": "d.zip"}, "end in .czann"),
    ],
)
def test_settings_that_do_not_fit(changes: dict, message: str, tmp_path: Path) -> None:
    network, spec = made()
    settings = {"classes": ["background", "disc"], "tile": 64, "value_range": 255, **changes}
    path = tmp_path / settings.pop("name_of_file", "d.czann")
    with pytest.raises(InputError, match=message):
        write_czann(path, network, spec, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["czmodel", "onnxruntime"])
def test_missing_package(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, spec = made()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r'; pip install "czmodel>=6\.2,<7" "onnxruntime>=1\.20"$'):
        write_czann(tmp_path / "d.czann", network, spec, ["background", "disc"], 64, value_range=255)
    assert not list(tmp_path.iterdir())


def test_value_ranges() -> None:
    assert [value_range_of(t) for t in (np.uint8, np.uint16, np.float32)] == [255, 65535, 1]
    for dtype in (np.int16, np.uint32, np.float64, bool):
        with pytest.raises(InputError, match=f"no images of type {np.dtype(dtype)}"):
            value_range_of(dtype)
