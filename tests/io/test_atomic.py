"""A name is whole or not there, whatever happens while it is written."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shallow2deep.errors import DamagedFileError, NoRoomError, RunBusyError
from shallow2deep.io.atomic import (
    atomic_path,
    one_writer,
    read_json,
    sha256,
    sweep,
    write_json,
    write_text,
)


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


_FOR_EVER = """
import sys
from shallow2deep.io.atomic import write_text
while True:
    for letter in "ab":
        write_text(sys.argv[1], letter * 200_000)
        print(letter, flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "a" * 200_000)
    for pause in (0.05, 0.08, 0.11, 0.14):
        with subprocess.Popen([sys.executable, "-c", _FOR_EVER, path], stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.read(2) == b"a\n"  # it writes
            time.sleep(pause)
            process.kill()
        assert path.read_text() in ("a" * 200_000, "b" * 200_000)
    write_text(path, "c")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as one:
        one.write_text("one")
        with atomic_path(tmp_path / "a.txt") as other:
            assert other != one
            other.write_text("other")
        assert (tmp_path / "a.txt").read_text() == "other"
    assert (tmp_path / "a.txt").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


_UNTIL_TOLD = """
import sys
from shallow2deep.io.atomic import atomic_path
with atomic_path(sys.argv[1] + "/a.txt") as path:
    path.write_text("from another process")
    print("begun", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def another(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that writes a.txt, and goes on when its input ends."""
    command = [sys.executable, "-c", _UNTIL_TOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        yield process
        process.kill()


def test_what_a_living_process_writes_stays(another: subprocess.Popen, tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "own")
    write_text(tmp_path / "b.txt", "own")
    another.communicate()
    assert another.returncode == 0
    assert (tmp_path / "a.txt").read_text() == "from another process"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_what_a_killed_process_left_is_removed_by_the_next_write(
    another: subprocess.Popen, tmp_path: Path
) -> None:
    assert list(tmp_path.glob(".*"))
    another.kill()
    another.wait()
    write_text(tmp_path / "b.txt", "own")
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]


def test_what_another_computer_writes_stays_for_a_day(tmp_path: Path) -> None:
    for name, age in (("new", 0), ("old", 2 * 24 * 3600)):
        path = tmp_path / f".{name}.partial-00000000-1-1.h5"
        path.write_text("x")
        os.utime(path, (time.time() - age, time.time() - age))
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".new.partial-00000000-1-1.h5"]


def test_files_of_users_are_no_left_overs(tmp_path: Path) -> None:
    names = {".config.old", ".a.partial.h5", "b.partial", ".lock", "c.old"}
    for name in names:
        (tmp_path / name).write_text("precious")
    write_text(tmp_path / "config", "x")
    assert {p.name for p in tmp_path.iterdir()} == {*names, "config"}


def test_a_folder_of_ours_is_swept_in_depth(tmp_path: Path) -> None:
    names = (".manifest.partial.json", f"0.{'0a' * 16}.partial", ".a.partial-00000000-1-1.h5")
    for folder in (tmp_path, tmp_path / "pool.zarr" / "c"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*names, "0"):
            (folder / name).write_text("x")
    sweep(tmp_path, alone=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["0", "0", "c", "pool.zarr"]


def test_a_kill_between_the_two_renames_of_a_folder_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / ".a.zarr.partial-old").mkdir()
    (tmp_path / ".a.zarr.partial-old" / "0").write_text("before")
    write_text(tmp_path / "b.txt", "another")
    assert (tmp_path / "a.zarr" / "0").read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.txt"]


def test_names_as_long_as_they_can_be(tmp_path: Path) -> None:
    name = "ä" * 125 + ".txt"
    write_text(tmp_path / name, "x")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with one_writer(tmp_path / "out"):
        with (
            pytest.raises(RunBusyError, match="another process works on it") as busy,
            one_writer(tmp_path / "out"),
        ):
            pass
        with one_writer(tmp_path / "out", "map.h5"), one_writer(tmp_path / "out", "other.h5"):
            pass
    assert busy.value.exit_code == 3
    with one_writer(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("[Errno 28] Can't write data (file write failed: errno = 28, error message = 'x')"),
        OSError("Not enough free space to write 4000 bytes"),
        OSError("1000 requested and 24 written"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_sentence(error: Exception, tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with (
        pytest.raises(NoRoomError, match=r"a\.txt: no room .* it needs 5\.0 MB; make room") as full,
        atomic_path(tmp_path / "a.txt", 5_000_000) as path,
    ):
        path.write_text("half")
        raise error
    assert full.value.exit_code == 1
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


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
