"""Damaged files of every kind that is read: the right sentence or the right content, and nothing else.

`S2D_FUZZ=1000 pytest tests/test_fuzz.py` tries as many damaged files of each kind, in place of a few.
"""

import io
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
from ilp_file import trained_project

from shallow2deep.errors import InputError, Shallow2DeepError
from shallow2deep.exports.description import Description
from shallow2deep.exports.packaged_networks import torchscript_network
from shallow2deep.exports.packages import load_package
from shallow2deep.forests import Forest
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.io.ilp import open_project
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import read_map, write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import ModelSpec, load_model, save_model
from shallow2deep.outputs import Output
from shallow2deep.runs.control import Control
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage, minutes_of, run_stages, state_of
from shallow2deep.runs.events import Events, last_event
from shallow2deep.runs.folder import command_of
from shallow2deep.settings import AdaptConfig, read_yaml, validated
from shallow2deep.training.checkpoints import load_checkpoint, save_checkpoint

COUNT = int(os.environ.get("S2D_FUZZ", "50"))
PRETRAINED = Path(__file__).parents[1] / "pretrained"
PIXELS = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """With bits flipped, cut off, or parts overwritten, doubled or left out."""
    data = bytearray(content)
    at = rng.randrange(max(len(data), 1))
    length = rng.choice([1, 2, 4, 8, 64, 512])
    match rng.randrange(6):
        case 0:
            for _ in range(rng.choice([1, 1, 1, 4, 32])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data[at : at + length] = rng.randbytes(length)
        case 3:
            data[at : at + length] = rng.choice([b"\0", b"\xff", b"[", b"9"]) * length
        case 4:
            data[at:at] = data[at : at + length] * rng.choice([1, 100])
        case 5:
            del data[at : at + length]
    return bytes(data)


def damaged_entry(content: bytes, rng: random.Random) -> bytes:
    """An archive that is whole, with one damaged file in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = rng.choice([name for name in old.namelist() if old.getinfo(name).file_size])
        for name in old.namelist():
            entry = old.read(name)
            new.writestr(zipfile.ZipInfo(name), damaged(entry, rng) if name == chosen else entry)
    return out.getvalue()


def stage(name: str = "one") -> Stage:
    def work(job: Any) -> None:
        write_json(job.folder / "result.json", [1])

    return Stage(name, {"steps": 1}, {"raw": "abc"}, work)


def make_run(folder: Path) -> Path:
    run_stages(folder, [stage()], Control(), Events(folder), Known(folder / "known.json"))
    write_json(folder / "run.json", {"command": "adapt"})
    Known(folder / "known.json").save()
    return folder / "one" / "manifest.json"


def read_run(path: Path) -> None:
    run = path.parent.parent
    state_of(run, stage())
    minutes_of(run)
    last_event(run)
    command_of(run)


def make_map(name: str) -> Callable[[Path], Path]:
    p = np.random.default_rng(0).random((2, 40, 50), np.float32)
    return lambda folder: write_probabilities(folder / name, p, [Output("a"), Output("b")], (4.0, 5.0))


def read_volume(path: Path) -> None:
    volume = open_volume(path)
    volume.read()


def make_model(folder: Path, damage: str) -> Path:
    spec = ModelSpec("enhancer", (Output(None),), 4, ((2, 2),), (1, 1))
    save_model(folder, spec.build(), spec)
    return folder / damage


def make_torchscript(folder: Path) -> Path:
    with zipfile.ZipFile(PRETRAINED / "nuclei-2d.zip") as package:
        (folder / "torchscript.pt").write_bytes(package.read("torchscript.pt"))
    return folder / "torchscript.pt"


def read_torchscript(path: Path) -> None:
    """As from another program, whose checksums are right."""
    description = SimpleNamespace(weights={"torchscript": SimpleNamespace(source=path.name)}, formats=())
    network = torchscript_network(path.parent, cast(Description, description))
    with torch.inference_mode():
        try:
            network(torch.zeros(1, 1, 32, 32))
        except RuntimeError as error:  # as its caller tells
            raise InputError("the network failed") from error


def make_forest(folder: Path) -> Path:
    trained_project(folder)
    return folder / "forest.npz"


def make_checkpoint(folder: Path) -> Path:
    save_checkpoint(folder, 1, {"step": 1, "weights": torch.zeros(100)})
    return folder / "step_000000001.pt"


def make_image(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write = tifffile.imwrite if name.endswith(".tif") else iio.imwrite
        write(folder / name, PIXELS)
        return folder / name

    return make


def make_text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def read_settings(path: Path) -> None:
    validated(AdaptConfig, read_yaml(path), str(path))


def read_done(path: Path) -> None:
    DoneLog(path, lambda piece: "0" * 64)


SETTINGS = """
classes: [background, nucleus]
target: {raw: raw*.png, strokes: strokes*.png, slices: "0:4"}
enhancer: nuclei-2d
seed: 3
target_forest: &forest {n_trees: 5}
segmentor: {patch: [64, 64], steps: 10, variants: [plain, both]}
"""
LOADERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "settings": (make_text("a.yaml", SETTINGS), read_settings),
    "json": (make_text("a.json", '{"a": [1, 2.5, "x", null, {"b": true}]}'), read_json),
    "events": (make_text("events.jsonl", '{"kind": "begun"}\n' * 3), lambda path: last_event(path.parent)),
    "known": (make_text("known.json", '{"a": {"file": "1 2", "value": "x"}}'), Known),
    "done log": (make_text("done.txt", f"one {'0' * 64}\ntwo {'0' * 64}\n"), read_done),
    "run": (make_run, read_run),
    "checkpoint": (make_checkpoint, lambda path: load_checkpoint(path.parent)),
    "forest": (make_forest, Forest.load),
    "weights": (
        lambda folder: make_model(folder, "weights.safetensors"),
        lambda path: load_model(path.parent),
    ),
    "model": (lambda folder: make_model(folder, "model.json"), lambda path: load_model(path.parent)),
    "package": (lambda folder: shutil.copy(PRETRAINED / "nuclei-2d.zip", folder / "a.zip"), load_package),
    "torchscript": (make_torchscript, read_torchscript),
    "entry of torchscript": (make_torchscript, read_torchscript),
    "entry of forest": (make_forest, Forest.load),
    "png": (make_image("a.png"), read_volume),
    "tif": (make_image("a.tif"), read_volume),
    "map.h5": (make_map("a.h5"), read_map),
    "map.tif": (make_map("a.tif"), read_map),
    "map.zarr": (
        lambda folder: make_map("a.zarr")(folder) / "0" / ".zarray",
        lambda path: read_map(path.parents[1]),
    ),
    "chunk of zarr": (
        lambda folder: make_map("a.zarr")(folder) / "0" / "0" / "0" / "0",
        lambda path: read_map(path.parents[3]),
    ),
    "project": (trained_project, open_project),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_damaged_files_are_one_sentence(kind: str, tmp_path: Path) -> None:
    make, read = LOADERS[kind]
    (tmp_path / "whole").mkdir()
    whole = make(tmp_path / "whole")
    read(whole)
    rng = random.Random(kind)
    count = COUNT // 10 if kind.endswith("torchscript") else COUNT  # a process of its own loads each
    content, damage = whole.read_bytes(), damaged_entry if kind.startswith("entry") else damaged
    for number in range(count):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / whole.relative_to(tmp_path / "whole")).write_bytes(damage(content, rng))
        try:
            read(folder / whole.relative_to(tmp_path / "whole"))
        except Shallow2DeepError as error:
            assert error.exit_code in (1, 2)
            assert "\n" not in str(error)
        shutil.rmtree(folder)
