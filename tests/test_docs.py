"""What the documents show works: Python is run, command lines are understood, numbers of rooms are true."""

import doctest
import re
import shlex
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from tiny import Data

from shallow2deep.cli import app

PACKAGE = Path(str(files("shallow2deep")))
ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language in a document."""
    return re.findall(
        rf"^ *```{language}\n(.*?)^ *```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_readmes_python_runs(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio.v3 as iio

    monkeypatch.chdir(tmp_path)
    raw = iio.imread(data.folder / "target0_raw.png")
    strokes = iio.imread(data.folder / "target0_strokes.png")
    found = {"raw": raw, "strokes": strokes, "config": data.source()}
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), found)
    assert found["x"].shape == (found["spec"].n_features, *raw.shape)
    assert found["p"].shape == (2, *raw.shape)
    assert found["enhanced"].shape == (1, *raw.shape)
    assert found["enhanced"].dtype == np.float32
    assert (tmp_path / "forest.npz").is_file()
    assert (tmp_path / "my-enhancer" / "enhancer" / "model.json").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_lines_in_documents_are_understood(document: Path) -> None:
    """All their flags exist; nothing is run."""
    command = typer.main.get_command(app)
    lines = [
        line
        for block in blocks(document, "")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("s2d ")
    ]
    inline = re.findall(r"`(s2d [a-z][^`]*)`", document.read_text(encoding="utf-8"))
    for line in lines + [one for one in inline if "--" in one]:
        _, *words = shlex.split(line.replace("…", ""), comments=True)
        words = words[2:] if words[0] == "--server" else words
        context, inner = command.make_context("s2d", [words[0]]), command
        while hasattr(inner, "commands"):
            inner = inner.commands[words.pop(0)]
        known = {name for parameter in inner.params for name in (*parameter.opts, *parameter.secondary_opts)}
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= known, f"{document.name}: {line}"
        assert context is not None


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    failed, _ = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_public_functions_without_data_have_examples() -> None:
    tried = sum(doctest.testmod(import_module(name)).attempted for name in MODULES)
    assert tried >= 12


def test_the_map_of_rooms_is_the_import_contract() -> None:
    """Every room of the package stands in CONTRIBUTING.md, in the order of the contract."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z_]+)/` \|", text, re.MULTILINE)
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(listed) == rooms
    contract = re.findall(r'^    "([a-z_]+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert [room for room in contract if room in rooms] == listed


def test_files_that_documents_name_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z_]+/[a-z_]+\.py)`", text):
        assert (PACKAGE / name).is_file(), name
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_checks_before_a_commit_are_those_of_ci() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert {"ruff", "mypy", "lint-imports"} <= {hook["entry"].split()[0] for hook in hooks}
    for word in ("ruff format --check", "ruff check", "mypy", "lint-imports"):
        assert word in ci


def test_the_citation_is_of_this_version() -> None:
    from shallow2deep import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["references"][0]["doi"] in (ROOT / "README.md").read_text(encoding="utf-8")
