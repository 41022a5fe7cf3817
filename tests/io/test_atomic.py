"""A name is whole or not there, whatever happens while it is written."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from shallow2deep.errors import DamagedFileError
from shallow2deep.io.atomic import atomic_path, read_json, sha256, write_json, write_text


def test_error_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.txt") as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_messages_name_the_path_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(DamagedFileError, match=r"^\S+/a\.zip is wrong$"),
        atomic_path(tmp_path / "a.zip") as path,
    ):
        raise DamagedFileError(f"{path} is wrong")


def test_folders_are_replaced_as_a_whole(tmp_path: Path) -> None:
    for n in (1, 2):
        with atomic_path(tmp_path / "a.zarr") as path:
            path.mkdir()
            (path / f"{n}").write_text("x")
    assert [p.name for p in (tmp_path / "a.zarr").iterdir()] == ["2"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def _write_for_ever(path: Path) -> None:
    while True:
        for letter in "ab":
            write_text(path, letter * 200_000)


def test_killed_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "a" * 200_000)
    for pause in (0.05, 0.08, 0.11, 0.14):
        process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(path,))
        process.start()
        time.sleep(0.5 + pause)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert path.read_text() in ("a" * 200_000, "b" * 200_000)
    write_text(path, "c")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_the_same_for_equal_content(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    write_json(tmp_path / "b.json", {"a": [2], "b": 1})
    assert sha256(tmp_path / "a.json") == sha256(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": [2], "b": 1}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_json(tmp_path / "a.json")
