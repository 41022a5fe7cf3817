"""Bad input of each kind: one sentence and exit code 2, before any work, and nothing lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from tiny import SIZE, Data, artifacts
from typer.testing import CliRunner

from shallow2deep.cli import app, main
from shallow2deep.errors import InputError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["s2d", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def write(path: Path, array: np.ndarray) -> None:
    path.unlink()
    if path.suffix == ".npy" or array.dtype.kind == "f":
        np.save(path.with_suffix(".npy"), array)
    else:
        iio.imwrite(path, array)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


Change = Callable[[Path, dict], None]


def set_(*keys: str, value: object) -> Change:
    def change(folder: Path, values: dict) -> None:
        for key in keys[:-1]:
            values = values.setdefault(key, {})
        values[keys[-1]] = value

    return change


def nan_raw(folder: Path, values: dict) -> None:
    raw = iio.imread(folder / "target0_raw.png").astype(np.float32)
    raw[3, 5] = np.nan
    np.save(folder / "raw.npy", raw)
    values["target"] = {"raw": f"{folder}/raw.npy", "strokes": f"{folder}/target0_strokes.png"}


def channels(folder: Path, values: dict) -> None:
    np.save(folder / "raw.npy", np.zeros((2, 3, SIZE, SIZE, 2), np.uint8))
    values["target"]["raw"] = f"{folder}/raw.npy"


def all_strokes(array: np.ndarray) -> Change:
    def change(folder: Path, values: dict) -> None:
        for n in range(4):
            write(folder / f"target{n}_strokes.png", array)

    return change


ADAPT: dict[str, tuple[Change, str]] = {
    "missing file": (set_("target", "raw", value="nowhere.png"), "no such file"),
    "empty pattern": (set_("target", "raw", value="nowhere*.png"), "no file"),
    "missing key": (lambda f, v: shutil.move(f / "target0_raw.png", f / "x.png"), "3"),
    "unknown setting": (set_("target_forest", "n_tree", value=5), "n_trees"),
    "wrong type": (set_("seed", value="many"), "seed"),
    "engine that is missing": (set_("engine", value="fastfilters"), "conda"),
    "no enhancer": (set_("enhancer", value="/nowhere"), "enhancer"),
    "shapes differ": (
        lambda f, v: write(f / "target2_strokes.png", np.ones((8, 8), np.uint8)),
        "shape",
    ),
    "empty strokes": (all_strokes(np.zeros((SIZE, SIZE), np.uint8)), "stroke"),
    "one class": (all_strokes(np.eye(SIZE, dtype=np.uint8)), "disc"),
    "labels for strokes": (
        all_strokes(np.ones((SIZE, SIZE), np.uint8) + np.eye(SIZE, dtype=np.uint8)),
        "dense",
    ),
    "unknown stroke value": (all_strokes(np.eye(SIZE, dtype=np.uint8) * 7), "7"),
    "NaN": (nan_raw, "NaN"),
    "number of axes": (channels, "axes"),
    "truncated file": (lambda f, v: truncate(f / "target1_raw.png"), "cannot be read"),
    "text file": (lambda f, v: (f / "target1_raw.png").write_text("hello"), "cannot be read"),
}


@pytest.mark.parametrize("kind", ADAPT)
def test_adapt(
    kind: str,
    data: Data,
    source_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(data.folder, tmp_path / "data")
    values = Data(folder).target_values(source_run)
    change, expected = ADAPT[kind]
    change(folder, values)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    assert run(monkeypatch, "adapt", config, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert error.startswith("s2d: ")
    assert expected in error
    assert not (tmp_path / "run").exists()


TRAIN: dict[str, tuple[Change, str]] = {
    "several channels": (lambda f, v: v["sources"][0].update(channels=[0, 1]), "one channel"),
    "unknown pixel size": (lambda f, v: v["sources"][0].update(pixel_size=8), "not known"),
    "crop larger than a patch": (set_("enhancer", "patch", value=[80, 80]), "larger"),
    "patch that does not divide": (set_("enhancer", "patch", value=[30, 30]), "divide"),
    "unknown strategy": (set_("forests", "strategies", value={"magic": 1}), "magic"),
    "labels of another shape": (
        lambda f, v: write(f / "source0_labels.png", np.ones((8, 8), np.uint8)),
        "shape",
    ),
    "pool too large": (set_("probabilities", "max_gigabytes", value=1e-6), "max_gigabytes"),
    "no classes in the labels": (set_("sources", value=[]), "sources"),
    "unknown device": (set_("enhancer", "device", value="abacus"), "abacus"),
    "one class only": (
        lambda f, v: [write(p, np.zeros((SIZE, SIZE), np.uint8)) for p in f.glob("source*_labels.png")],
        "one class",
    ),
}


@pytest.mark.parametrize("kind", TRAIN)
def test_enhancer_train(
    kind: str,
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(data.folder, tmp_path / "data")
    values = Data(folder).source_values()
    change, expected = TRAIN[kind]
    change(folder, values)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    assert run(monkeypatch, "enhancer-train", config, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("s2d: ")
    assert expected in error
    assert not (tmp_path / "run").exists()


def test_damaged_models_are_refused(
    data: Data,
    source_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("model.json", "weights.safetensors"):
        source = shutil.copytree(source_run, tmp_path / name)
        truncate(source / "enhancer" / name)
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(data.target_values(source)))
        assert run(monkeypatch, "adapt", config, "--run", tmp_path / "run") == 2
        assert name in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_failed_call_leaves_a_finished_run_alone(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = artifacts(target_run)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.target_values(source_run, seed=-1)))
    assert run(monkeypatch, "adapt", config, "--run", target_run) == 2
    assert artifacts(target_run) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ilp", "{gone}"], "no such file"),
        (["--ilp", "{flat}", "--background", "dust"], 'no label "dust"'),
        (["--ilp", "{flat}", "--strokes", "s.png"], "give one of them"),
        (["--raw", "x.png"], "strokes are missing"),
        (["--raw", "x.png", "--strokes", "s.png", "--forest", "ilp"], "target.ilp"),
    ],
)
def test_flags_of_adapt(flags: list[str], message: str, flat: Path, source_run: Path, tmp_path: Path) -> None:
    filled = [flag.format(gone=tmp_path / "gone.ilp", flat=flat) for flag in flags]
    run = tmp_path / "run"
    result = CliRunner().invoke(app, ["adapt", *filled, "--enhancer", str(source_run), "--run", str(run)])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not run.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "/nowhere", "--raw", "x.png", "--out", "y"),
        ("status", "/nowhere"),
        ("nonsense",),
        ("init",),
    ],
)
def test_other_commands(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enhancer.yaml").write_text("mine")
    assert run(monkeypatch, *arguments) == 2
    assert (tmp_path / "enhancer.yaml").read_text() == "mine"
