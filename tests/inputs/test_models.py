"""Enhancers by name, and packages that are given by one."""

import shutil
from pathlib import Path

import pytest
from tiny import Data
from typer.testing import CliRunner

from shallow2deep.cli import app
from shallow2deep.errors import InputError
from shallow2deep.inputs.models import OWN_FOLDERS, find_enhancer, models
from shallow2deep.settings import read_yaml


def test_models_by_name(package: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN_FOLDERS, str(package.parent))
    assert "tiny-discs" in [model.name for model in models()]
    assert find_enhancer("tiny-discs") == package
    listing = CliRunner().invoke(app, ["models"], catch_exceptions=False).output
    assert "tiny-discs" in listing
    assert "CC0-1.0" in listing
    raw, strokes = (f"{data.folder}/target*_{name}.png" for name in ("raw", "strokes"))
    arguments = [
        "adapt",
        "--raw",
        raw,
        "--strokes",
        strokes,
        "--enhancer",
        "tiny-discs",
        "--run",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(
        app, [*arguments, "--set", "target_forest.n_trees=3", "--set", "classes=[ground, disc]"]
    )
    assert result.exit_code == 0, result.exception
    with pytest.raises(InputError, match="s2d models"):
        find_enhancer("tiny-disks")
    (package.parent / "broken.zip").write_text("no zip file")
    assert "tiny-discs" in [model.name for model in models()]
    assert find_enhancer("tiny-discs") == package
    (tmp_path / "adapt.yaml").write_text("enhancer: tiny-discs\n")
    assert read_yaml(tmp_path / "adapt.yaml")["enhancer"] == "tiny-discs"
    (tmp_path / "tiny-discs").mkdir()
    assert read_yaml(tmp_path / "adapt.yaml")["enhancer"] == str(tmp_path / "tiny-discs")


def test_packages_that_are_being_written_have_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = next((Path(__file__).parents[2] / "pretrained").glob("nuclei-2d.zip"))
    for name in ("mine.zip", ".mine.partial.zip"):
        shutil.copy(package, tmp_path / name)
    monkeypatch.setenv(OWN_FOLDERS, str(tmp_path))
    assert [model.name for model in models() if model.path.parent == tmp_path] == ["mine"]
