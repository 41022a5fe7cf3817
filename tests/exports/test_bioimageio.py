"""Packages for bioimage.io: what is in them, that they predict what was trained, and what is refused."""

import ast
import copy
import hashlib
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trained import as_trained

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports import weights
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.exports.tiling import Tiling, predict_tiled, problems_for_ilastik
from shallow2deep.exports.verification import check_package, compare_with
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.settings import AuthorSettings, CitationSettings, NetworkSettings

INFO = PackageInfo(
    name="Tiny mitochondria enhancer",
    description="A network for tests.",
    authors=(AuthorSettings(name="Ada Example", affiliation="Nowhere", orcid="0000-0002-1825-0097"),),
    licence="CC-BY-4.0",
    cite=(CitationSettings(text="Some paper", doi="10.1234/abc"),),
    tags=("electron-microscopy",),
    documentation="# A tiny network\n\n## Validation\n\nNone.",
    record={"voxel_size": [4.6, 4.6], "source": {"licence": "CC0"}},
)
COVER = np.arange(200, dtype=np.uint8).reshape(10, 20)
SPECS = {
    "enhancer": ModelSpec.of(
        "enhancer",
        (Output("mito"), Output("mito", BOUNDARY)),
        NetworkSettings(features=4, depth=2, stem=2),
    ),
    "segmentor": ModelSpec.of(
        "segmentor",
        (Output("mito"),),
        NetworkSettings(features=4, depth=1, stem=1),
        normalisation=(120.5, 33.25),
    ),
}


def made(spec: ModelSpec) -> UNet:
    torch.manual_seed(0)
    return as_trained(spec.build())


def image(spec: ModelSpec, shape: tuple[int, int] = (70, 93)) -> np.ndarray:
    values = np.random.default_rng(0).random((1, *shape), np.float32)
    return values if spec.kind == "enhancer" else (255 * values).astype(np.uint8)


def written(path: Path, kind: str = "enhancer", **changes: object) -> Path:
    spec = SPECS[kind]
    info = replace(INFO, **changes)
    return write_package(path, made(spec), spec, info, image(spec), COVER)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {kind: written(folder / f"{kind}.zip", kind) for kind in SPECS}


@pytest.fixture
def rdf(packages: dict[str, Path]) -> dict:
    with zipfile.ZipFile(packages["enhancer"]) as archive:
        return yaml.safe_load(archive.read("rdf.yaml"))


def test_description_can_be_read_by_the_library_inside_ilastik(packages: dict[str, Path], rdf: dict) -> None:
    assert rdf["format_version"] == "0.5.9"
    assert (rdf["documentation"], rdf["covers"]) == ("README.md", ["cover.png"])
    assert rdf["tags"] == ["shallow2deep", "electron-microscopy"]
    given, output = rdf["inputs"][0], rdf["outputs"][0]
    assert [a.get("id", a["type"]) for a in given["axes"]] == ["batch", "channel", "y", "x"]
    assert [a.get("id", a["type"]) for a in output["axes"]] == ["batch", "channel", "y", "x"]
    assert output["axes"][1]["channel_names"] == ["mito", "mito_boundary"]
    size, halo = given["axes"][2]["size"], output["axes"][2]["halo"]
    assert (halo, halo) == made(SPECS["enhancer"]).halo
    assert size["min"] % size["step"] == 0
    assert 2 * halo % size["step"] == 0
    assert problems_for_ilastik(rdf) == []
    with zipfile.ZipFile(packages["enhancer"]) as archive:
        weights = rdf["weights"]
        architecture = weights["pytorch_state_dict"]["architecture"]
        for file in (*weights.values(), architecture, given["test_tensor"], output["test_tensor"]):
            assert hashlib.sha256(archive.read(file["source"])).hexdigest() == file["sha256"]
    assert rdf["config"]["shallow2deep"]["source"] == {"licence": "CC0"}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", SPECS)
def test_equal_input_gives_equal_bytes(kind: str, packages: dict[str, Path], tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 9, 9))  # TorchScript counts what it made
    again = written(tmp_path / "another name.zip", kind)
    assert again.read_bytes() == packages[kind].read_bytes()


def test_folder_holds_the_same_files(packages: dict[str, Path], tmp_path: Path) -> None:
    folder = written(tmp_path / "package")
    with zipfile.ZipFile(packages["enhancer"]) as archive:
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
            name: archive.read(name) for name in archive.namelist()
        }


def test_nothing_of_this_computer_goes_along(packages: dict[str, Path]) -> None:
    with zipfile.ZipFile(packages["enhancer"]) as archive:
        with zipfile.ZipFile(archive.open("torchscript.pt")) as script:
            contents = [script.read(name) for name in script.namelist()]
        contents += [archive.read(name) for name in archive.namelist()]
    home = str(Path(weights.__file__).parents[2]).encode()
    assert not any(home in content or b"site-packages" in content for content in contents)


def test_architecture_needs_only_torch(packages: dict[str, Path]) -> None:
    with zipfile.ZipFile(packages["enhancer"]) as archive:
        tree = ast.parse(archive.read("architecture.py"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        n.partition(".")[0]
        for i in imports
        for n in ([str(i.module)] if isinstance(i, ast.ImportFrom) else [a.name for a in i.names])
    }
    assert names - sys.stdlib_module_names == {"torch"}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("shape", [(33, 70), (520, 40), (1, 40)])
def test_package_predicts_what_was_trained_whole_and_in_tiles(
    kind: str, shape: tuple[int, int], packages: dict[str, Path]
) -> None:
    spec = SPECS[kind]
    assert compare_with(packages[kind], made(spec), spec, image(spec, shape)) < 1e-6


def test_too_small_a_halo_would_be_noticed() -> None:
    spec = SPECS["enhancer"]
    network = made(spec)
    x = image(spec, (520, 40))
    exact = Tiling.of(network)
    whole = predict_with_network(network, x)

    def probabilities(batch: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(network(batch))

    assert np.abs(predict_tiled(probabilities, x, exact) - whole).max() < 1e-6
    assert np.abs(predict_tiled(probabilities, x, replace(exact, halo=exact.step)) - whole).max() > 1e-4


@pytest.mark.parametrize(
    ("smallest", "step", "tile"), [(64, 16, 512), (192, 8, 512), (500, 7, 514), (896, 32, 896)]
)
def test_ilastik_takes_the_smallest_tile_from_512_on(smallest: int, step: int, tile: int) -> None:
    assert Tiling((smallest, smallest), (step, step), halo=(1, 1)).tile == (tile, tile)


def test_another_network_is_noticed(packages: dict[str, Path]) -> None:
    spec = SPECS["enhancer"]
    network = made(spec)
    with torch.no_grad():
        network.head[0].bias += 0.01
    with pytest.raises(Shallow2DeepError, match="differ from the trained one by"):
        compare_with(packages["enhancer"], network, spec, image(spec))


def test_what_differs_does_not_get_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", "an earlier one")
    before = path.read_bytes()
    right = weights._torchscript

    def wrong(model: weights.PackagedUNet, example: torch.Tensor) -> bytes:
        other = copy.deepcopy(model)
        torch.nn.init.zeros_(other.head[0].weight)
        return right(other, example)

    monkeypatch.setattr(weights, "_torchscript", wrong)
    with pytest.raises(Shallow2DeepError, match="differ from the trained one"):
        written(path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_only_packages_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "text.zip").write_text("no zip file")
    for name, message in (("thesis", "no package"), ("text.zip", "no package"), ("new.docx", "end in .zip")):
        with pytest.raises(InputError, match=message):
            written(tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "text.zip").read_text() == "no zip file"


def test_network_is_not_changed(tmp_path: Path) -> None:
    spec = SPECS["segmentor"]
    network = made(spec).train()
    before = copy.deepcopy(network.state_dict())
    write_package(tmp_path / "p.zip", network, spec, INFO, image(spec), COVER)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_segmentor_normalises_inside(packages: dict[str, Path]) -> None:
    spec = SPECS["segmentor"]
    with zipfile.ZipFile(packages["segmentor"]) as archive:
        script = torch.jit.load(io.BytesIO(archive.read("torchscript.pt")))
        assert "shallow2deep" not in yaml.safe_load(archive.read("rdf.yaml"))["tags"]
    raw = torch.from_numpy(image(spec, (64, 48)).astype(np.float32))[None]
    expected = torch.sigmoid(made(spec)((raw - 120.5) / 33.25))
    assert torch.allclose(script(raw), expected, atol=1e-6)


@pytest.mark.parametrize("kind", SPECS)
def test_bioimageio_runs_it(kind: str, packages: dict[str, Path]) -> None:
    pytest.importorskip("bioimageio.core")
    check_package(packages[kind])


def test_bioimageio_finds_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("bioimageio.core")
    folder = written(tmp_path / "package")
    rdf = yaml.safe_load((folder / "rdf.yaml").read_text())
    output = np.load(folder / "test_output.npy") * 0.5
    np.save(folder / "test_output.npy", output)
    rdf["outputs"][0]["test_tensor"].pop("sha256")
    (folder / "rdf.yaml").write_text(yaml.safe_dump(rdf))
    with pytest.raises(Shallow2DeepError, match=r"test of pytorch_state_dict failed: .*disagree"):
        check_package(folder)


def test_onnx(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    spec = SPECS["segmentor"]
    path = write_package(tmp_path / "p.zip", made(spec), spec, INFO, image(spec), COVER, weights.FORMATS)
    with zipfile.ZipFile(path) as archive:
        first = archive.read("model.onnx")
        example = torch.from_numpy(np.load(io.BytesIO(archive.read("test_input.npy"))))
    assert b"site-packages" not in first
    model = weights.packaged(made(spec), spec)
    assert weights.weight_files(model, example, ("onnx",))["model.onnx"] == first
    assert compare_with(path, made(spec), spec, image(spec, (40, 600))) < 1e-6
    pytest.importorskip("bioimageio.core")
    check_package(path)


@pytest.mark.parametrize(
    ("missing", "use"),
    [("onnxscript", "write"), ("bioimageio.core", "check")],
)
def test_missing_package_is_named(
    missing: str, use: str, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    spec = SPECS["enhancer"]
    with pytest.raises(InputError, match=f"{missing}.*pip install"):
        if use == "check":
            check_package(packages["enhancer"])
        write_package(tmp_path / "p.zip", made(spec), spec, INFO, image(spec), COVER, ("onnx",))
    assert not list(tmp_path.iterdir())


def test_terms_in_words_stand_in_the_documentation(tmp_path: Path) -> None:
    folder = written(tmp_path / "package", licence="For research only; ask the authors.")
    assert "license" not in yaml.safe_load((folder / "rdf.yaml").read_text())
    assert (
        (folder / "README.md")
        .read_text()
        .endswith("## Terms of use\n\nFor research only; ask the authors.\n")
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "a/b/c/d/e"}, "the name"),
        ({"authors": ()}, "at least one author"),
        ({"authors": (AuthorSettings(name="A", orcid="0000-0002-1825-0098"),)}, "no ORCID"),
        ({"authors": (AuthorSettings(name="A/B"),)}, "slash"),
        ({"cite": (CitationSettings(text="x"),)}, "DOI"),
        ({"description": "x" * 1025}, "1025 characters"),
        ({"record": {"x": np.float32(1)}}, "not plain JSON"),
        ({"record": {"x": float("nan")}}, "not plain JSON"),
    ],
)
def test_unusable_info_is_refused(changes: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        written(tmp_path / "p.zip", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": "source_net"}, "normalises each image by its own mean"),
        ({"kind": "teacher"}, "kind teacher"),
        ({"kind": "segmentor"}, "no mean and deviation"),
        ({"in_channels": 2}, "2 channels"),
        ({"features": 5}, "not of the sizes"),
    ],
)
def test_unusable_network_is_refused(changes: dict, match: str, tmp_path: Path) -> None:
    spec = SPECS["enhancer"]
    with pytest.raises(InputError, match=match):
        write_package(tmp_path / "p.zip", made(spec), replace(spec, **changes), INFO, image(spec), COVER)


@pytest.mark.parametrize(
    ("sample", "match"),
    [
        (np.zeros((70, 93), np.float32), "shape"),
        (np.zeros((2, 70, 93), np.float32), "shape"),
        (np.full((1, 70, 93), 255, np.uint8), "from 255 to 255"),
        (np.full((1, 70, 93), np.nan, np.float32), "nan"),
    ],
)
def test_unusable_sample_is_refused(sample: np.ndarray, match: str, tmp_path: Path) -> None:
    spec = SPECS["enhancer"]
    with pytest.raises(InputError, match=match):
        write_package(tmp_path / "p.zip", made(spec), spec, INFO, sample, COVER)


def test_unknown_format_and_cover_are_refused(tmp_path: Path) -> None:
    spec = SPECS["enhancer"]
    with pytest.raises(InputError, match=r"\['keras'\]"):
        write_package(tmp_path / "p.zip", made(spec), spec, INFO, image(spec), COVER, ("keras",))
    for cover in (b"GIF89a", COVER.astype(float)):
        with pytest.raises(InputError, match="cover"):
            write_package(tmp_path / "p.zip", made(spec), spec, INFO, image(spec), cover)


def without_halo_rule(rdf: dict) -> None:
    rdf["outputs"][0]["axes"][2]["halo"] = 50


def with_halo_of_everything(rdf: dict) -> None:
    rdf["outputs"][0]["axes"][3]["halo"] = 96


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.update(format_version="0.5.12"), "format version is 0.5.12"),
        (lambda r: r.update(format_version="0.4.10"), "0.4.10"),
        (lambda r: r.update(documentation={"source": "README.md"}), "plain strings"),
        (lambda r: r.update(covers=[{"source": "cover.png"}]), "plain strings"),
        (lambda r: r["tags"].remove("shallow2deep"), "the tag"),
        (lambda r: r.update(weights={"onnx": {"source": "model.onnx"}}), "the weights are onnx"),
        (lambda r: r["inputs"].append(r["inputs"][0]), "2 inputs"),
        (lambda r: r["outputs"].append(r["outputs"][0]), "2 outputs"),
        (lambda r: r["outputs"][0]["axes"].reverse(), "are not the input's"),
        (lambda r: r["inputs"][0]["axes"][2].update(id="i"), "not all among"),
        (lambda r: r["inputs"][0]["axes"][1].update(channel_names=["a", "b"]), "2 input channels"),
        (lambda r: r["outputs"][0]["axes"].pop(1), "lack a channel axis"),
        (lambda r: r["inputs"][0]["data"].update(type="uint8"), "not float32"),
        (lambda r: r["inputs"][0]["axes"][2].update(size=256), "not given as min and step"),
        (without_halo_rule, "not a multiple of the step 8"),
        (with_halo_of_everything, "leaves nothing"),
        (lambda r: r.pop("outputs"), "outputs"),
    ],
)
def test_each_rule_of_ilastik(change: Callable[[dict], object], match: str, rdf: dict) -> None:
    change(rdf)
    problems = problems_for_ilastik(rdf)
    assert any(match in problem for problem in problems), problems


def test_the_test_tensor_is_where_something_is() -> None:
    spec = SPECS["enhancer"]
    model = weights.packaged(made(spec), spec)
    side, _ = Tiling.of(model).min
    sample = np.zeros((1, 3 * side, 2 * side), np.float32)
    sample[0, -9:-3, -5:] = 1
    for image in (sample, sample[:, -20:], sample[:, :, ::-1]):
        x = weights.test_input(model, np.ascontiguousarray(image))
        assert x.shape == (1, 1, side, side)
        assert x.std() > 0
