"""Packages from us and from strangers: what is read, and what is refused in one sentence."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trained import as_trained

from shallow2deep.errors import DamagedFileError, InputError, Shallow2DeepError
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.packages import load_package, read_package
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.settings import AuthorSettings, CitationSettings, NetworkSettings

SPEC = ModelSpec.of(
    "enhancer",
    (Output(None), Output(None, BOUNDARY)),
    NetworkSettings(features=4, depth=1, stem=2),
    voxel_size=(4.6, 4.6),
    record={"steps": 12},
    metadata={"name": "mito", "data_licences": ["CC0-1.0"]},
)
INFO = PackageInfo(
    name="Tiny enhancer",
    description="A network for tests.",
    authors=(AuthorSettings(name="Ada Example"),),
    licence="CC0-1.0",
    cite=(CitationSettings(text="Some paper", doi="10.1234/abc"),),
    tags=(),
    documentation="# A tiny network",
    record={"features": {"scales": [0.7]}},
)
IMAGE = np.random.default_rng(0).random((1, 50, 61), np.float32)
COVER = np.zeros((10, 20), np.uint8)


def made() -> UNet:
    torch.manual_seed(0)
    return as_trained(SPEC.build())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The content of a package of ours."""
    path = tmp_path_factory.mktemp("ours") / "ours"
    write_package(path, made(), SPEC, INFO, IMAGE, COVER)
    return {file.name: file.read_bytes() for file in path.iterdir()}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def changed(files: dict[str, bytes], change: Callable[[dict], object]) -> dict[str, bytes]:
    """The files with another description."""
    rdf = yaml.safe_load(files["rdf.yaml"])
    change(rdf)
    return {**files, "rdf.yaml": json.dumps(rdf).encode()}  # YAML, too, and without aliases


def as_foreign(files: dict[str, bytes], *formats: str) -> dict[str, bytes]:
    """As from another program, with these weight formats."""

    def change(rdf: dict) -> None:
        rdf["config"] = {}
        rdf["weights"] = {name: rdf["weights"][name] for name in formats}

    return changed(files, change)


def with_file(files: dict[str, bytes], name: str, data: bytes) -> dict[str, bytes]:
    """The files with one replaced, and its checksum in the description."""
    text = files["rdf.yaml"].decode()
    text = text.replace(hashlib.sha256(files[name]).hexdigest(), hashlib.sha256(data).hexdigest())
    return {**files, name: data, "rdf.yaml": text.encode()}


def marking(files: dict[str, bytes], marker: Path) -> dict[str, bytes]:
    """The files with an architecture that leaves a mark when it is run."""
    code = f"open({str(marker)!r}, 'w').close()\n".encode()
    return with_file(files, "architecture.py", files["architecture.py"] + code)


# ours


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_what_is_written_is_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("package.zip" if form == "zip" else "package")
    write_package(path, made(), SPEC, INFO, IMAGE, COVER)
    package = read_package(path)
    assert (package.name, package.licence, package.kind) == ("Tiny enhancer", "CC0-1.0", "enhancer")
    assert package.outputs == SPEC.outputs
    assert package.record == {"features": {"scales": [0.7]}}
    network, spec = load_package(path)
    assert spec == SPEC == package.model
    assert (network.step, network.halo) == (made().step, made().halo)
    assert not network.training
    expected = predict_with_network(made(), IMAGE)
    assert np.array_equal(predict_with_network(network, IMAGE), expected)


def test_architecture_of_ours_is_not_run(files: dict[str, bytes], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    network, _ = load_package(zipped(tmp_path / "p.zip", marking(files, marker)), trust=True)
    assert isinstance(network, UNet)
    assert not marker.exists()


def saved(tensors: object) -> bytes:
    out = io.BytesIO()
    torch.save(tensors, out)
    return out.getvalue()


class Pickled:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_weights_run_no_code(files: dict[str, bytes], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    crafted = with_file(files, "weights.pt", saved({"head.0.bias": Pickled(marker)}))
    with pytest.raises(DamagedFileError, match="weights do not load"):
        load_package(zipped(tmp_path / "p.zip", crafted))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("head.0.bias"), "not those of its network"),
        (lambda s: s.update(more=torch.zeros(1)), "not those of its network"),
        (lambda s: s.update({"head.0.bias": torch.zeros(9)}), "not those of its network"),
        (lambda s: s.update({"head.0.bias": s["head.0.bias"].double()}), "not those of its network"),
        (lambda s: s.update({"head.0.bias": s["head.0.bias"].to("meta")}), "not those of its network"),
        (lambda s: s.update({"head.0.bias": s["head.0.bias"].to_sparse()}), "not those of its network"),
        (lambda s: s.update({"head.0.bias": 1.5}), "mapping of tensors"),
    ],
)
def test_other_weights_are_refused(
    change: Callable[[dict], object], match: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    tensors = dict(made().state_dict())
    change(tensors)
    with pytest.raises(DamagedFileError, match=match):
        load_package(zipped(tmp_path / "p.zip", with_file(files, "weights.pt", saved(tensors))))


@pytest.mark.parametrize(
    "change",
    [
        {"features": 2**40},
        {"strides": [[2, 2]] * 9},
        {"format": 1, "depth": 9},
        {"strides": [[2, 3]]},
        {"stem": [3, 3]},
        {"kind": "teacher"},
        {"kind": ["enhancer"]},
        {"voxel_size": [10**400]},
        {"normalisation": [0, 0]},
        {"surprise": 1},
        {"outputs": None},
    ],
)
def test_crafted_model_is_refused(change: dict, files: dict[str, bytes], tmp_path: Path) -> None:
    crafted = changed(files, lambda r: r["config"]["shallow2deep"]["model"].update(change))
    with pytest.raises(DamagedFileError):
        read_package(zipped(tmp_path / "p.zip", crafted))


def test_size_of_the_network_is_checked_against_memory(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "shallow2deep.exports.packaged_networks.require_memory", lambda n_bytes, what: asked.append(n_bytes)
    )
    big = {"features": 1024, "strides": [[2, 2]] * 4}
    crafted = changed(files, lambda r: r["config"]["shallow2deep"]["model"].update(big))
    with pytest.raises(DamagedFileError, match="not those of its network"):
        load_package(zipped(tmp_path / "p.zip", crafted))
    assert max(asked) > 30e9


# from strangers


def test_foreign_torchscript_is_taken(files: dict[str, bytes], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    foreign = as_foreign(marking(files, marker), "pytorch_state_dict", "torchscript")
    path = zipped(tmp_path / "p.zip", foreign)
    assert read_package(path).kind == "enhancer"
    assert read_package(path).model is None
    network, spec = load_package(path)
    assert (spec.kind, spec.outputs) == ("enhancer", SPEC.outputs)
    assert spec.metadata == {"name": INFO.name, "data_licences": ["CC0-1.0"]}
    expected = predict_with_network(made(), IMAGE)
    assert np.abs(predict_with_network(network, IMAGE) - expected).max() < 1e-5
    blocked = predict_with_network(network, IMAGE, (8, 8))
    assert np.abs(blocked - expected).max() < 1e-5
    assert not marker.exists()


def test_foreign_python_is_run_only_if_trusted(files: dict[str, bytes], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = zipped(tmp_path / "p.zip", as_foreign(marking(files, marker), "pytorch_state_dict"))
    with pytest.raises(InputError, match="--trust"):
        load_package(path)
    assert not marker.exists()
    network, _ = load_package(path, trust=True)
    assert marker.exists()
    expected = predict_with_network(made(), IMAGE)
    assert np.abs(predict_with_network(network, IMAGE) - expected).max() < 1e-5


def test_failing_foreign_python_is_one_sentence(files: dict[str, bytes], tmp_path: Path) -> None:
    foreign = as_foreign(with_file(files, "architecture.py", b"1 / 0"), "pytorch_state_dict")
    with pytest.raises(InputError, match="division by zero"):
        load_package(zipped(tmp_path / "p.zip", foreign), trust=True)


def test_sigmoid_after_the_network_is_applied(files: dict[str, bytes], tmp_path: Path) -> None:
    foreign = changed(
        as_foreign(files, "torchscript"),
        lambda r: r["outputs"][0].update(postprocessing=[{"id": "sigmoid"}]),
    )
    network, _ = load_package(zipped(tmp_path / "p.zip", foreign))
    twice = torch.sigmoid(torch.from_numpy(predict_with_network(made(), IMAGE))).numpy()
    assert np.abs(predict_with_network(network, IMAGE) - twice).max() < 1e-5


@pytest.mark.parametrize(
    ("minimum", "step", "halo", "expected"),
    [
        (64, 16, 16, (16, 32)),
        (64, 16, 0, (16, 32)),
        (1, 1, 0, (1, 1)),
        (16, 16, 0, (16, 16)),
        (48, 16, 40, (16, 40)),
    ],
)
def test_sizes_of_foreign_blocks_are_valid(
    minimum: int, step: int, halo: int, expected: tuple[int, int], files: dict[str, bytes], tmp_path: Path
) -> None:
    def change(rdf: dict) -> None:
        for i in (2, 3):
            rdf["inputs"][0]["axes"][i]["size"] = {"min": minimum, "step": step}
            rdf["outputs"][0]["axes"][i]["halo"] = halo

    network, _ = load_package(zipped(tmp_path / "p.zip", changed(as_foreign(files, "torchscript"), change)))
    assert (network.step, network.halo) == tuple((n, n) for n in expected)
    assert (expected[0] + 2 * expected[1] - minimum) % step == 0
    assert expected[0] + 2 * expected[1] >= minimum


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.update(tags=["unet"]), "no tag"),
        (lambda r: r["inputs"].append(r["inputs"][0].copy()), "2 inputs"),
        (lambda r: r["inputs"][0]["axes"].insert(2, {"type": "space", "id": "z", "size": 8}), "axes are"),
        (lambda r: r["inputs"][0]["axes"].reverse(), "axes are"),
        (lambda r: r["inputs"][0]["axes"][1].update(channel_names=["a", "b"]), "2 input channels"),
        (lambda r: r["inputs"][0]["data"].update(range=[0, 255]), r"0\.0\.\.255"),
        (lambda r: r["inputs"][0]["data"].update(type="uint8"), "uint8"),
        (lambda r: r["inputs"][0].update(preprocessing=[{"id": "scale_range"}]), "scale_range"),
        (lambda r: r["outputs"][0].update(postprocessing=[{"id": "softmax"}]), "softmax"),
        (lambda r: r["inputs"][0]["axes"][2].update(size=256), "not of free size"),
        (lambda r: r["outputs"][0]["axes"][2]["size"].update(offset=-8), "not of free size"),
        (lambda r: r["outputs"][0]["axes"][2].update(scale=2.0), "not of free size"),
        (lambda r: r["inputs"][0]["axes"][2]["size"].update(min=81), "no halo up to"),
        (
            lambda r: [r["inputs"][0]["axes"][i]["size"].update(step=65537 - i) for i in (2, 3)],
            "no halo up to",
        ),
        (lambda r: r["outputs"][0]["axes"][2].update(halo=60000), "no halo up to"),
        (lambda r: r["weights"].update(torchscript=None, onnx={"source": "cover.png"}), r"only \('onnx'"),
        (lambda r: r["weights"]["torchscript"].update(source="https://a.b/c"), "not a file in the package"),
        (lambda r: r["weights"]["torchscript"].update(source="../secret"), "not a file in the package"),
        (lambda r: r["weights"]["torchscript"].update(source="/etc/passwd"), "not a file in the package"),
        (lambda r: r["weights"]["torchscript"].update(source="C:\\secret"), "not a file in the package"),
    ],
)
def test_unusable_foreign_package(
    change: Callable[[dict], object], match: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = zipped(tmp_path / "p.zip", changed(as_foreign(files, "torchscript"), change))
    with pytest.raises(InputError, match=match) as caught:
        load_package(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("outputs", [("one",), ("one", "two", "three")])
def test_other_number_of_outputs_is_noticed(
    outputs: tuple[str, ...], files: dict[str, bytes], tmp_path: Path
) -> None:
    foreign = changed(
        as_foreign(files, "torchscript"),
        lambda r: r["outputs"][0]["axes"][1].update(channel_names=list(outputs)),
    )
    network, _ = load_package(zipped(tmp_path / "p.zip", foreign))
    with pytest.raises(InputError, match="expected"):
        predict_with_network(network, IMAGE)


class Writing(torch.nn.Module):
    """Would create a file."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file(self.path, shared=True, size=4).sum()


class Failing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(7, 7, 7)


def scripted(module: torch.nn.Module) -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(module), out)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_that_reaches_files_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    foreign = with_file(files, "torchscript.pt", scripted(Writing(str(marker))))
    with pytest.raises(InputError, match="from_file"):
        load_package(zipped(tmp_path / "p.zip", as_foreign(foreign, "torchscript")))
    assert not marker.exists()


@pytest.mark.parametrize(
    "code",
    [
        'getattr(torch, "s\\141ve")(x, "f")',
        "a = ops\n  b = a.inductor",
        "ops\\\n.inductor.x(y)",
        "def __setstate__(self",
    ],
)
def test_torchscript_that_hides_what_it_calls_is_refused(
    code: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    script = io.BytesIO(scripted(Failing()))
    with zipfile.ZipFile(script, "a") as archive:
        archive.writestr("archive/code/more.py", code)
    foreign = as_foreign(with_file(files, "torchscript.pt", script.getvalue()), "torchscript")
    with pytest.raises(InputError, match="no need of"):
        load_package(zipped(tmp_path / "p.zip", foreign))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_failing_torchscript_is_one_sentence(files: dict[str, bytes], tmp_path: Path) -> None:
    foreign = as_foreign(with_file(files, "torchscript.pt", scripted(Failing())), "torchscript")
    network, _ = load_package(zipped(tmp_path / "p.zip", foreign))
    with pytest.raises(InputError, match="the network of Tiny enhancer failed on") as caught:
        predict_with_network(network, IMAGE)
    assert "\n" not in str(caught.value)


# hostile and damaged


def test_no_package(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such package"):
        read_package(tmp_path / "p.zip")
    (tmp_path / "p.zip").write_bytes(b"PK but not really")
    with pytest.raises(DamagedFileError, match="not a zip file"):
        read_package(tmp_path / "p.zip")
    with pytest.raises(InputError, match=r"no rdf\.yaml"):
        read_package(zipped(tmp_path / "p.zip", {"readme.md": b""}))
    with pytest.raises(InputError, match=r"no rdf\.yaml"):
        read_package(tmp_path)


@pytest.mark.parametrize("name", ["torchscript.pt", "weights.pt", "architecture.py", "test_input.npy"])
def test_altered_file_is_noticed(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    altered = {**files, name: files[name] + b"\0"}
    with pytest.raises(DamagedFileError, match=f"{name} has the sha256"):
        load_package(zipped(tmp_path / "p.zip", altered))


def test_missing_file_is_noticed(files: dict[str, bytes], tmp_path: Path) -> None:
    left = {name: data for name, data in files.items() if name != "weights.pt"}
    with pytest.raises(DamagedFileError, match=r"weights\.pt is missing"):
        load_package(zipped(tmp_path / "p.zip", left))


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "C:/out", "a\\..\\out"])
def test_path_that_leads_out(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="leads out of the package"):
        read_package(zipped(tmp_path / "p.zip", {**files, name: b""}))


def test_link_in_a_zip(files: dict[str, bytes], tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files)
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DamagedFileError, match="is a link"):
        read_package(path)


def test_link_in_a_folder(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (tmp_path / "elsewhere").write_bytes(files["weights.pt"])
    (folder / "weights.pt").unlink()
    (folder / "weights.pt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFileError, match=r"weights\.pt is a link"):
        load_package(folder)


@pytest.mark.parametrize("where", ["package", "weights.pt", "torchscript.pt"])
def test_bomb(where: str, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shallow2deep.exports.archive._ANY_RATIO", 2**20)
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items() if where == "package" else []:
            archive.writestr(name, data)
        archive.writestr("archive/zeros", bytes(5 * 2**20))
    path = bomb
    if where != "package":
        crafted = with_file(files, where, bomb.read_bytes())
        formats = ["torchscript"] if where == "torchscript.pt" else []
        path = zipped(tmp_path / "p.zip", as_foreign(crafted, *formats) if formats else crafted)
    with pytest.raises(DamagedFileError, match="zeros would grow"):
        load_package(path)


def test_too_much_in_all(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "p.zip", files)
    monkeypatch.setattr("shallow2deep.exports.archive._MAX_BYTES", 1000)
    with pytest.raises(DamagedFileError, match="more than 1000"):
        read_package(path)
    monkeypatch.setattr("shallow2deep.exports.archive._MAX_FILES", 3)
    with pytest.raises(DamagedFileError, match="more than 3"):
        read_package(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(files: dict[str, bytes], tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights.pt", b"")
    with pytest.raises(DamagedFileError, match="two entries of one name"):
        read_package(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"name: " + b"x" * 2**21, "more than the 1048576"),
        (b"[" * 5000, "not readable YAML"),
        (b"a: &a [1]\nb: [*a, *a]", "aliases"),
        (b"a: !!python/object/apply:os.system [ls]", "not readable YAML"),
        (b"\xff\xfe\xff", "not readable YAML"),
        (b"- 1", "format None"),
        (b"format_version: 0.4.10", "update-format"),
        (b"format_version: 0.5.9\ntype: dataset", "type in its description"),
        (b"format_version: 0.5.9\ntype: model\nname: [1]", "name in its description"),
        (
            b'{"format_version": "0.5.9", "type": "model", "name": "a", "weights": {"a\\nb": 1}}',
            "description",
        ),
    ],
)
def test_crafted_description(text: bytes, match: str, files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match) as caught:
        read_package(zipped(tmp_path / "p.zip", {**files, "rdf.yaml": text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("formats", [(), ("torchscript",)])
def test_damaged_anywhere(formats: tuple[str, ...], files: dict[str, bytes], tmp_path: Path) -> None:
    whole = zipped(tmp_path / "p.zip", as_foreign(files, *formats) if formats else files).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for i in range(60):
        data = bytearray(whole)
        if i % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        for position in rng.integers(0, len(data), 20) if data else ():
            data[position] = rng.integers(256)
        (tmp_path / "p.zip").write_bytes(data)
        try:
            load_package(tmp_path / "p.zip")
        except Shallow2DeepError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 40
