"""HDF5 of whatever origin: the interpreter lives, and nothing outside of the file is read."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from shallow2deep.errors import DamagedFileError, InputError, Shallow2DeepError
from shallow2deep.io import hdf5
from shallow2deep.io.map_files import read_outputs, write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import of_foreground

IMAGE = np.random.default_rng(0).integers(0, 200, (64, 48)).astype(np.uint8)


def self_mapped(path: Path) -> None:
    layout = h5py.VirtualLayout((64, 48), np.uint8)
    layout[:] = h5py.VirtualSource(".", "raw", (64, 48))
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("raw", layout)


def mapped_in_a_circle(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for name, other in (("raw", "b"), ("b", "raw")):
            layout = h5py.VirtualLayout((64, 48), np.uint8)
            layout[:] = h5py.VirtualSource(".", other, (64, 48))
            file.create_virtual_dataset(name, layout)


def _secret(path: Path) -> Path:
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file["raw"] = IMAGE
    return secret


def mapped_elsewhere(path: Path) -> None:
    layout = h5py.VirtualLayout((64, 48), np.uint8)
    layout[:] = h5py.VirtualSource(_secret(path), "raw", (64, 48))
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("raw", layout)


def kept_elsewhere(path: Path) -> None:
    path.with_name("secret.bin").write_bytes(IMAGE.tobytes())
    with h5py.File(path, "w") as file:
        external = [("secret.bin", 0, IMAGE.nbytes)]
        file.create_dataset("raw", IMAGE.shape, np.uint8, external=external)


def linked_elsewhere(path: Path) -> None:
    _secret(path)
    with h5py.File(path, "w") as file:
        file["raw"] = h5py.ExternalLink("secret.h5", "/raw")


def linked_by_a_folder(path: Path) -> None:
    _secret(path)
    with h5py.File(path, "w") as file:
        file["other"] = h5py.ExternalLink("secret.h5", "/")
        file["raw"] = h5py.SoftLink("/other/raw")


def linked_in_a_circle(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["raw"] = h5py.SoftLink("/raw")


CRAFTED = [
    self_mapped, mapped_in_a_circle, mapped_elsewhere, kept_elsewhere, linked_elsewhere, linked_by_a_folder,
    linked_in_a_circle,
]  # fmt: skip


@pytest.mark.parametrize("craft", CRAFTED)
def test_what_is_not_in_the_file_is_refused(craft: Callable[[Path], None], tmp_path: Path) -> None:
    craft(tmp_path / "a.h5")
    for name in ("a.h5:raw", "a.h5"):
        with pytest.raises(InputError):
            open_volume(f"{tmp_path}/{name}").read()
    with pytest.raises(InputError):
        read_outputs(f"{tmp_path}/a.h5:raw")


def test_virtual_arrays_of_the_same_file_and_links_within_it(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((2, 64, 48), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["parts/one"], file["parts/two"] = IMAGE, IMAGE + 1
        for n, name in enumerate(("one", "two")):
            layout[n] = h5py.VirtualSource(".", f"parts/{name}", (64, 48))
        file.create_virtual_dataset("both", layout)
        file["by/name"] = h5py.SoftLink("/parts/two")
        file["folder"] = h5py.SoftLink("parts")
        file["again"] = file["parts/one"]
        file["parts/up"] = file["/"]
    for name, expected in (
        ("both", np.stack([IMAGE, IMAGE + 1])),
        ("by/name", IMAGE + 1),
        ("folder/one", IMAGE),
        ("again", IMAGE),
    ):
        assert np.array_equal(open_volume(f"{tmp_path}/a.h5:{name}").read(), expected)
    with pytest.raises(InputError, match="out of: again, both, parts/two"):
        open_volume(f"{tmp_path}/a.h5")


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_end_no_interpreter(seed: int, tmp_path: Path) -> None:
    """In files of the newest format."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for n in range(12):
            data = file.create_dataset(
                f"group{n % 3}/raw{n}", data=IMAGE, chunks=(16, 16), maxshape=(None, None), compression="gzip"
            )
            data.attrs["axes"], data.attrs["many"] = "yx", np.arange(400)
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    for number in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content) if number % 2 else 2000, 1 + number % 4):
            damaged[place] ^= 1 << rng.integers(8)
        (tmp_path / f"{number}.h5").write_bytes(damaged)
        with contextlib.suppress(Shallow2DeepError):
            open_volume(f"{tmp_path}/{number}.h5:group0/raw0").read()


def test_a_probe_that_ends_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
    hdf5.contents(tmp_path / "a.h5")
    child = hdf5._prober._child
    assert child
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    os.utime(tmp_path / "a.h5", (1, 1))
    assert hdf5.contents(tmp_path / "a.h5").arrays == ("raw",)
    monkeypatch.setattr(hdf5, "_SECONDS", 0.2)
    os.kill(hdf5._prober._child.pid, signal.SIGSTOP)
    os.utime(tmp_path / "a.h5", (2, 2))
    with pytest.raises(DamagedFileError, match="does not come to an end"):
        hdf5.contents(tmp_path / "a.h5")
    os.utime(tmp_path / "a.h5", (3, 3))
    monkeypatch.undo()
    assert hdf5.contents(tmp_path / "a.h5").arrays == ("raw",)


def test_a_file_is_probed_once_and_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{n}.h5" for n in range(20)]
    for path in paths:
        with h5py.File(path, "w") as file:
            file["raw"] = IMAGE
    start = time.monotonic()
    volumes = [open_volume(path) for path in paths]
    assert time.monotonic() - start < 6
    written = write_probabilities(tmp_path / "map.h5", np.zeros((1, 4, 4), np.float32), of_foreground("a"))
    monkeypatch.setattr(hdf5._prober, "look", None)
    for path, volume in zip(paths, volumes, strict=True):
        volume.read()
        open_volume(path)
    open_volume(written)
