"""Zarr elsewhere: the values of the same zarr here, read a chunk at a time."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import zarr

from shallow2deep.errors import DamagedFileError, InputError, MissingDataError
from shallow2deep.io import remote
from shallow2deep.io.map_files import create_ome_zarr
from shallow2deep.io.volumes import open_volume, open_volumes

fsspec = pytest.importorskip("fsspec", reason="the extra remote")
VALUES = np.random.default_rng(0).integers(1, 255, (700, 600)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an OME-Zarr, and a plain one in version 3."""
    made = create_ome_zarr(tmp_path / "a.zarr", VALUES.shape, VALUES.dtype, (4.0, 5.0), "a", {})
    made[...] = VALUES
    zarr.create_array(str(tmp_path / "b.zarr"), data=VALUES, chunks=(256, 256))
    return tmp_path


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *arguments: object) -> None:
        return

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder by HTTP, and what is asked for."""
    Quiet.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", Quiet.asked
        running.shutdown()
        thread.join()


def test_by_http_only_the_chunks_that_are_needed(server: tuple[str, list[str]]) -> None:
    pytest.importorskip("aiohttp", reason="the extra remote")
    address, asked = server
    (volume,) = open_volumes(f"{address}/a.zarr")
    assert (volume.axes, volume.shape, volume.voxel_size) == ("yx", VALUES.shape, (4.0, 5.0))
    assert not [path for path in asked if path.endswith("/0/0/0")]
    window = (slice(520, 540), slice(3, 80))
    np.testing.assert_array_equal(volume.read(window), VALUES[window])
    assert {path for path in asked if path.startswith("/a.zarr/0/") and path[-1].isdigit()} == {
        "/a.zarr/0/1/0"
    }
    np.testing.assert_array_equal(open_volume(f"{address}/b.zarr").read(), VALUES)
    with pytest.raises(MissingDataError, match="there is no such zarr"):
        open_volume(f"{address}/c.zarr")
    with pytest.raises(InputError, match="read as zarr"):
        open_volume(f"{address}/a.tif")


def test_in_memory_and_by_the_address_of_a_file(folder: Path) -> None:
    there = fsspec.filesystem("memory")
    there.put(str(folder / "a.zarr"), "/box/a.zarr", recursive=True)
    for name in ("memory://box/a.zarr", "memory://box/a.zarr:0", f"file://{folder}/a.zarr"):
        np.testing.assert_array_equal(open_volume(name).read(), VALUES)
    with pytest.raises(InputError, match="KEY out of: 0"):
        open_volume("memory://box/a.zarr:raw")
    there.pipe_file("/box/a.zarr/0/0/0", b"x" * 10_000_000)
    with pytest.raises(DamagedFileError, match="takes 10000000 in the file"):
        open_volume("memory://box/a.zarr").read()
    there.rm("/box", recursive=True)


def test_nobody_answers() -> None:
    pytest.importorskip("aiohttp", reason="the extra remote")
    with pytest.raises(InputError, match="cannot be reached"):
        open_volume("http://127.0.0.1:9/a.zarr")


def test_a_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def fail(address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    remote._opened.cache_clear()
    with pytest.raises(InputError, match=r"Install s3fs.*pip install 'shallow2deep\[remote\]'"):
        open_volume("s3://bucket/a.zarr")
