"""A dask cluster of separate processes, one of them killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from trained import as_trained

from shallow2deep import predict
from shallow2deep.errors import MissingDataError
from shallow2deep.inference import network_maps
from shallow2deep.io.block_store import folder_of
from shallow2deep.networks.model import ModelSpec, save_model
from shallow2deep.outputs import Output

pytest.importorskip("distributed", reason="the extra dask")


@contextmanager
def cluster(file: Path, workers: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A scheduler, which tells its address in a file, and workers."""
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = ["scheduler", "--scheduler-file", str(file), "--port", "0", "--no-dashboard"]
    worker = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    started = [subprocess.Popen([*dask, *words], **quiet) for words in [scheduler] + [worker] * workers]  # type: ignore[call-overload]
    try:
        yield started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_blocks_of_a_killed_worker_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setattr(network_maps, "BLOCK", {2: 32})
    torch.manual_seed(0)
    spec = ModelSpec("source_net", (Output("disc"),), 8, ((2, 2), (2, 2)), (1, 1))
    save_model(tmp_path / "net", as_trained(spec.build()), spec)
    raw, net = tmp_path / "raw.tif", tmp_path / "net"
    tifffile.imwrite(raw, np.random.default_rng(0).integers(0, 255, (520, 520)).astype(np.uint8))
    (direct,) = predict(net, raw, tmp_path / "direct" / "out.zarr", device="cpu")
    file, out, killed = tmp_path / "scheduler.json", tmp_path / "out.zarr", list[int]()
    with cluster(file, 2) as workers:
        while not file.exists():
            time.sleep(0.1)
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=300)

        def kill_one() -> None:
            journal = folder_of(out) / "done.jsonl"
            while not out.exists() and not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
                time.sleep(0.001)
            if not out.exists():
                os.kill(workers[0].pid, signal.SIGKILL)
                killed.append(workers[0].wait())

        thread = threading.Thread(target=kill_one)
        thread.start()
        (found,) = predict(net, raw, out, device="cpu", cluster=str(file))
        thread.join()
    assert killed == [-signal.SIGKILL], "it was through before"
    assert files_of(found) == files_of(direct)


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    spec = ModelSpec("source_net", (Output("disc"),), 4, ((2, 2),), (1, 1))
    save_model(tmp_path / "net", as_trained(spec.build()), spec)
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((20, 20), np.uint8))
    with pytest.raises(MissingDataError, match="no such file of a dask scheduler"):
        predict(tmp_path / "net", tmp_path / "raw.tif", tmp_path / "p.zarr", cluster=f"{tmp_path}/none.json")
