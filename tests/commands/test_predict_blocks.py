"""One image into a zarr: what the whole image gives, with a pyramid, and on from where it was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from trained import as_trained

from shallow2deep import predict
from shallow2deep.errors import InputError
from shallow2deep.inference import network_maps
from shallow2deep.io.block_store import folder_of
from shallow2deep.io.map_files import read_map, read_outputs
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.progress import Bar

SHAPE = (600, 530)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_maps, "BLOCK", {2: 128})


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that brings each image to its own mean and deviation."""
    torch.manual_seed(0)
    spec = ModelSpec("source_net", (Output("disc"), Output("disc", BOUNDARY)), 4, ((2, 2),), (1, 1))
    folder = tmp_path_factory.mktemp("net")
    save_model(folder, as_trained(spec.build()), spec)
    return folder


def image(path: Path, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_blocks_give_what_the_whole_image_gives_and_lower_levels(net: Path, tmp_path: Path) -> None:
    raw = image(tmp_path / "raw.tif")
    (whole,) = predict(net, raw, tmp_path / "p.h5", device="cpu")
    (blocks,) = predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert read_outputs(blocks) == read_outputs(whole)
    expected, found = read_map(whole)[0], read_map(blocks)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    group = zarr.open_group(blocks, mode="r")
    levels = [one["path"] for one in group.attrs["multiscales"][0]["datasets"]]
    arrays = [np.asarray(group[level]) for level in levels]
    assert [a.shape for a in arrays] == [(3, 600, 530), (3, 300, 265)]
    np.testing.assert_allclose(arrays[1], found.reshape(3, 300, 2, 265, 2).mean((2, 4)), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_planes_are_predicted_each_by_itself(net: Path, tmp_path: Path) -> None:
    raw = image(tmp_path / "raw.tif", (3, 70, 90))
    (whole,) = predict(net, raw, tmp_path / "p.h5", device="cpu")
    (blocks,) = predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert read_map(whole)[0].shape == (3, 3, 70, 90)
    np.testing.assert_allclose(read_map(blocks)[0], read_map(whole)[0], atol=1e-5)


def test_blocks_are_counted_from_the_start(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(Bar, "progress", lambda self, what, done, total: told.append((what, done, total)))
    predict(net, image(tmp_path / "raw.tif"), tmp_path / "p.zarr", device="cpu")
    total = 25 + 1 + 1  # of the network, of the map, of the level above it
    assert told == [("blocks", n, total) for n in range(total + 1)]


def killed(net: Path, raw: Path, out: Path, blocks: int) -> None:
    """Another process predicts, and is killed when some blocks are done."""
    code = (
        "from shallow2deep.inference import network_maps; network_maps.BLOCK = {2: 128}\n"
        f"from shallow2deep import predict; predict({str(net)!r}, {str(raw)!r}, {str(out)!r}, device='cpu')"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    journal, until = folder_of(out) / "done.jsonl", time.monotonic() + 300
    while child.poll() is None and time.monotonic() < until:
        if journal.exists() and journal.read_bytes().count(b"\n") >= blocks:
            break
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was through before it was killed"


def test_killed_it_goes_on_at_the_block_and_ends_with_the_same_bytes(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = image(tmp_path / "raw.tif")
    (whole,) = predict(net, raw, tmp_path / "whole" / "p.zarr", device="cpu")
    killed(net, raw, tmp_path / "p.zarr", 5)
    assert not (tmp_path / "p.zarr").exists()
    with (folder_of(tmp_path / "p.zarr") / "done.jsonl").open("ab") as journal:
        journal.write(b'["network 24')  # half a line does not count
    told: list[int] = []
    monkeypatch.setattr(Bar, "progress", lambda self, what, done, total: told.append(done))
    (found,) = predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert 5 <= told[0] < 27
    assert told == list(range(told[0], 28))
    assert files_of(found) == files_of(whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_of_other_data_it_is_begun_anew(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    raw = image(tmp_path / "raw.tif")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shallow2deep.commands.predict_blocks.Unfinished.finish", stop)
        predict(net, raw, tmp_path / "p.zarr", device="cpu")
    image(raw, seed=1)
    (found,) = predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert "begun anew" in caplog.text
    (expected,) = predict(net, raw, tmp_path / "other" / "p.zarr", device="cpu")
    assert files_of(found) == files_of(expected)


def test_killed_when_the_map_had_just_got_its_name(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = image(tmp_path / "raw.tif", (150, 140))
    with monkeypatch.context() as patch:
        patch.setattr("shallow2deep.io.block_store.shutil.rmtree", lambda *arguments, **options: None)
        predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert folder_of(tmp_path / "p.zarr").exists()
    whole = files_of(tmp_path / "p.zarr")
    predict(net, raw, tmp_path / "p.zarr", device="cpu")
    assert files_of(tmp_path / "p.zarr") == whole
    assert not folder_of(tmp_path / "p.zarr").exists()


def test_workers_are_for_one_image_into_a_zarr(net: Path, tmp_path: Path) -> None:
    raw = image(tmp_path / "raw.tif", (20, 20))
    with pytest.raises(InputError, match=r"give --out NAME\.zarr"):
        predict(net, raw, tmp_path / "p.h5", processes=2)
    with pytest.raises(InputError, match="give one of them"):
        predict(net, raw, tmp_path / "p.zarr", processes=2, cluster="local:2")
    with pytest.raises(InputError, match="0 processes were asked for"):
        predict(net, raw, tmp_path / "p.zarr", processes=0)
    assert not (tmp_path / "p.zarr").exists()


def test_results_elsewhere_are_refused(target_run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="results are written to files here"):
        predict(target_run, str(tmp_path / "a.npy"), "s3://bucket/maps.zarr", "forest")
