"""Finished runs as packages and back; packages from strangers."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PACKAGE, SEGMENTOR, Data, artifacts
from torch import Tensor, nn
from typer.testing import CliRunner

from shallow2deep import adapt, export, predict
from shallow2deep.cli import app
from shallow2deep.errors import InputError
from shallow2deep.exports.packages import read_package
from shallow2deep.io.atomic import read_json
from shallow2deep.io.volumes import open_volume


def test_an_exported_enhancer_adapts_as_the_run_does(
    package: Path, source_run: Path, data: Data, tmp_path: Path, target_run: Path
) -> None:
    run = tmp_path / "run"
    adapt(data.target(package), run)
    for path in (target_run / "enhanced").glob("*.h5"):
        assert (run / "enhanced" / path.name).read_bytes() == path.read_bytes()
    package.unlink()  # the run has its own copy
    written = predict(run, f"{data.folder}/target0_raw.png", tmp_path / "out", "enhanced")
    np.testing.assert_array_equal(
        open_volume(written[0]).read(), open_volume(run / "enhanced" / "target0_raw.h5").read()
    )


def test_the_card_says_where_it_comes_from_and_how_well_it_does(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        card = archive.read("README.md").decode()
    for part in ("tiny enhancer", "CC0 for tests", "Dice 0.5 on made-up discs.", "probability map of disc"):
        assert part in card
    found = read_package(package)
    assert found.kind == "enhancer"
    assert found.record["classes"] == ["background", "disc"]


def test_the_same_export_gives_the_same_bytes(package: Path, source_run: Path) -> None:
    again = export(source_run, package.with_name("again.zip"), overrides=PACKAGE)
    assert again.read_bytes() == package.read_bytes()


class _Stranger(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, 1 - x], 1)


_PYTHON = """
import torch
class Stranger(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x, 1 - x], 1)
"""


def strangers_package(path: Path, python: bool = False) -> Path:
    """An enhancer as others publish it: TorchScript or Python alone, and no record of how it was trained."""
    weights, file = {"source": "w.pt", "pytorch_version": "2.0"}, io.BytesIO()
    if python:
        torch.save({}, file)
        weights["architecture"] = {"callable": "Stranger", "source": "network.py"}
    else:
        torch.jit.save(torch.jit.script(_Stranger()), file)
    space = [{"type": "space", "id": a, "size": {"min": 64, "step": 16}} for a in "yx"]
    reference = [
        {"type": "space", "id": a, "halo": 16, "size": {"tensor_id": "in", "axis_id": a}} for a in "yx"
    ]
    batch = {"type": "batch"}
    rdf = {
        "type": "model",
        "format_version": "0.5.4",
        "name": "stranger",
        "tags": ["shallow2deep"],
        "inputs": [{"id": "in", "axes": [batch, {"type": "channel", "channel_names": ["p"]}, *space]}],
        "outputs": [
            {"id": "out", "axes": [batch, {"type": "channel", "channel_names": ["fg", "edge"]}, *reference]}
        ],
        "license": "CC-BY-4.0",
        "weights": {"pytorch_state_dict" if python else "torchscript": weights},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", json.dumps(rdf))  # JSON is YAML
        archive.writestr("w.pt", file.getvalue())
        archive.writestr("network.py", _PYTHON)
    return path


def test_an_enhancer_of_somebody_else(data: Data, tmp_path: Path) -> None:
    package = strangers_package(tmp_path / "stranger.zip")
    run = tmp_path / "run"
    settings = data.target(package, features={"scales": [0.7, 1.6]}, enhanced={"scales": [1]})
    adapt(settings, run)
    forest, enhanced = (
        open_volume(run / stage / "target0_raw.h5").read() for stage in ("target_forest", "enhanced")
    )
    np.testing.assert_allclose(enhanced[1], forest[1], atol=1e-5)
    before = artifacts(run)
    adapt(settings, run)
    assert artifacts(run) == before
    package.unlink()
    predict(run, f"{data.folder}/target0_raw.png", tmp_path / "out", "enhanced")
    with pytest.raises(InputError, match="came as a package"):
        export(run, tmp_path / "x.zip", overrides=PACKAGE)


def test_a_packages_own_enhancer_is_not_exported_again(package: Path, data: Data, tmp_path: Path) -> None:
    adapt(data.target(package), tmp_path / "run")
    with pytest.raises(InputError, match="came as a package"):
        export(tmp_path / "run", tmp_path / "x.zip", overrides=PACKAGE)


def test_what_follows_an_adaptation_needs_no_trust(data: Data, tmp_path: Path) -> None:
    """The enhancer's Python is not run again to look at a run, or to export what was trained in it."""
    pytest.importorskip("bioimageio.core", reason="packages are tested by bioimageio.core, the extra export")
    package, run = strangers_package(tmp_path / "stranger.zip", python=True), tmp_path / "run"
    segmentor = SEGMENTOR | {"steps": 2, "confidence": {"use": "none"}}
    adapt(data.target(package, enhanced={"scales": [1]}, segmentor=segmentor), run, trust=True)
    command = ["export", str(run), "--out", str(tmp_path / "s.zip"), *(f"--set={s}" for s in PACKAGE)]
    for arguments in (command, ["status", str(run)]):
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    raw = f"{data.folder}/target0_raw.png"
    predict(run, raw, tmp_path / "segmentor", "segmentor")
    with pytest.raises(InputError, match="--trust"):
        predict(run, raw, tmp_path / "enhanced", "enhanced")
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert "CC-BY-4.0" in archive.read("README.md").decode()  # the terms of what taught it


def test_a_segmentor_for_bioimageio_and_zen(data: Data, source_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("bioimageio.core", reason="packages are tested by bioimageio.core, the extra export")
    run = tmp_path / "run"
    segmentor = SEGMENTOR | {"steps": 2, "confidence": {"use": "none"}}
    adapt(data.target(source_run, segmentor=segmentor), run)
    package = export(run, tmp_path / "segmentor.zip", overrides=PACKAGE)
    assert read_package(package).kind == "segmentor"
    with zipfile.ZipFile(package) as archive:
        card = archive.read("README.md").decode()
    choice = read_json(run / "prediction" / "choice.json")
    score = choice["scores"]["segmentor-consistency"]
    assert f"{sum(choice['held_out_strokes'].values())} held-out strokes" in card
    assert f"balanced accuracy {score['accuracy']:.3f}" in card
    assert "CC0 for tests" in card
    model = read_package(package).model
    assert model is not None
    assert len(model.record["features"]["filters"]) > 1
    assert (
        read_package(export(run, tmp_path / "e.zip", step="enhanced", overrides=PACKAGE)).kind == "enhancer"
    )
    pytest.importorskip("czmodel", reason="the extra czann")
    arguments = ["export", str(run), "--format", "czann", "--out", str(tmp_path / "s.czann"), "--tile", "256"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.output.strip().endswith("s.czann")
    with zipfile.ZipFile(tmp_path / "s.czann") as archive:
        model = json.loads(archive.read("model.json"))
    assert model["Classes"] == ["background", "disc"]
    CliRunner().invoke(app, [*arguments, "--depth", "3"], catch_exceptions=False)
    with zipfile.ZipFile(tmp_path / "s.czann") as archive:
        assert json.loads(archive.read("model.json"))["InputShape"] == [3, 256, 256, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{source}", "--out", "x.zip"], "package.authors is missing"),
        (["{source}", "--out", "x.czann", "--format", "czann"], "enhancer"),
        (["{source}", "--out", "x.zip", "--format", "pickle"], "there are bioimageio"),
        (["{target}", "--ilp", "x.ilp"], "not made from an ilastik project"),
        (["{target}", "--out", "x.zip", "--step", "segmentor"], "no network"),
        (["{source}"], "--out"),
        (["{target}", "--ilp", "x.ilp", "--format", "czann"], "--out"),
        (["{data}", "--out", "x.zip"], "no run"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, source_run: Path, target_run: Path, data: Data, tmp_path: Path
) -> None:
    places = {"source": source_run, "target": target_run, "data": data.folder}
    filled = [
        a.format(**places) if "{" in a else str(tmp_path / a) if a.startswith("x.") else a for a in arguments
    ]
    result = CliRunner().invoke(app, ["export", *filled])
    assert isinstance(result.exception, InputError), result.exception
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())
