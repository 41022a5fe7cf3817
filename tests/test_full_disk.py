"""A full disk: whatever is written, one sentence, exit code 1, earlier results whole; and then it goes on."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WRITERS = """
import json, resource, sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from shallow2deep.errors import NoRoomError
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, fit_forest
from shallow2deep.io.atomic import write_bytes, write_json
from shallow2deep.io.map_files import write_probabilities
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.events import Events
from shallow2deep.training.checkpoints import save_checkpoint
from shallow2deep.training.curves import Curves

folder = Path(sys.argv[1])
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
rng = np.random.default_rng(0)
p = rng.random((2, 300, 400), dtype=np.float32)
spec = FeatureSpec.ilastik()
x = rng.random((20000, spec.n_features), dtype=np.float32)
forest = fit_forest(x, rng.integers(0, 2, len(x)), spec, ("a", "b"), n_trees=5, seed=0)


def maps(ending):
    return lambda: write_probabilities(folder / f"map{ending}", p, [Output("a"), Output("b")])


def picture():
    image = (p[0] * 255).astype(np.uint8)
    write_bytes(folder / "picture.png", iio.imwrite("<bytes>", image, extension=".png"))


def many(write):
    def all_of_them():
        for number in range(2000):
            write(number)
    return all_of_them


def curves():
    with Curves(folder / "tensorboard", 0) as written:
        many(lambda number: written.scalar("loss", 1.0, number))()


events, done = Events(folder), DoneLog(folder / "log" / "done.txt", lambda piece: "0" * 64)
network = ModelSpec("enhancer", (Output(None),), 16, ((2, 2), (2, 2)), (1, 1))
writers = {
    "hdf5": maps(".h5"), "zarr": maps(".zarr"), "tiff": maps(".tif"), "png": picture, "curves": curves,
    "npz": lambda: forest.save(folder / "forest.npz"),
    "json": lambda: write_json(folder / "values.json", {"values": p[0, :100].tolist()}),
    "safetensors": lambda: save_model(folder / "model", network.build(), network),
    "checkpoint": lambda: save_checkpoint(folder / "checkpoints", 1, {"p": torch.from_numpy(p)}),
    "events": many(lambda number: events.emit("stage", "picture", path="x" * 1000)),
    "done": many(lambda number: done.add("x" * 1000)),
}
for name, write in writers.items():
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        write()
        print(name, "written")
    except NoRoomError as error:
        told = "no room to write it" in str(error) and str(folder) in str(error) and "needs" in str(error)
        print(name, error.exit_code, told, str(error).count("\\n"))
    hidden = [path.name for path in folder.rglob("*") if ".partial" in path.name]
    lost = [path.name for path, content in before.items() if not path.read_bytes().startswith(content)]
    print(name, "left", hidden, lost)
"""
NAMES = (
    "hdf5",
    "zarr",
    "tiff",
    "png",
    "curves",
    "npz",
    "json",
    "safetensors",
    "checkpoint",
    "events",
    "done",
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, where one can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True
        ).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


def tried(*arguments: object) -> list[str]:
    command = [sys.executable, "-c", WRITERS, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
    assert "Exception ignored" not in found.stderr
    return found.stdout.splitlines()


def expected(what: str) -> list[str]:
    return [line for name in NAMES for line in (f"{name} {what}", f"{name} left [] []")]


def test_a_limit_of_what_may_be_written(tmp_path: Path) -> None:
    assert tried(tmp_path, 20_000) == expected("1 True 0")


def test_a_full_disk_and_then_room(small: Path) -> None:
    assert tried(small) == expected("1 True 0")
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    assert tried(small) == expected("written")
