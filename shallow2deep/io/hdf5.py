"""HDF5 files of whatever origin, opened only after another process has gone through them and lives.

The HDF5 library crashes on some damaged or crafted files, and it follows links into other files.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py

from shallow2deep.blocks import Window
from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.io.stored import no_such_key, reading, require_file, size_in_bytes
from shallow2deep.io.unpacking import check_unpacked

_SECONDS = 60.0  # for one file
_UNSEEN = 4 * 2**20  # bytes; smaller chunks cannot unpack to what fills the memory
_MAX_LINKS = 16  # as the library itself follows

Stamp = tuple[int, int]  # size and time of change


@dataclass(frozen=True)
class Contents:
    """What is in an HDF5 file.

    Attributes:
        arrays: one name of each array, to choose from.
        names: all names of the arrays that can be read.
        refused: names of those that cannot, and why.
        outside: names of what leads to other files.
        sparse: names of arrays that claim far more bytes than they take in the file.
    """

    arrays: tuple[str, ...]
    names: frozenset[str]
    refused: dict[str, str]
    outside: tuple[str, ...]
    sparse: tuple[str, ...]


class _Prober:
    """The other process, started when it is needed, and again when a file has ended it."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):  # the pipes are the parent's
            os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._stop)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def look(self, path: Path) -> dict[str, Any] | None:
        """What the probe tells of a file; None if that ended or stopped it."""
        with self._lock:
            if self._child is not None and self._child.poll() is not None:  # ended by others
                self._stop()
            child = self._child = self._child or _start()
            assert child.stdin and child.stdout, "started with pipes"
            timer = threading.Timer(_SECONDS, child.kill)
            timer.start()
            try:
                child.stdin.write(json.dumps(str(path.resolve())) + "\n")
                child.stdin.flush()
                answer = child.stdout.readline()
            except BrokenPipeError:
                answer = ""
            except BaseException:  # its answer would be taken for the next file's
                self._stop()
                raise
            finally:
                timer.cancel()
            if not answer.endswith("\n"):
                self._stop()
                return None
            found: dict[str, Any] = json.loads(answer)
            return found


def _start() -> "subprocess.Popen[str]":
    # isolated from the user's folder, and from the keys that interrupt us
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("hdf5_probe.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


_prober = _Prober()
_known: dict[Path, tuple[Stamp, Contents | str]] = {}


def stamp_of(path: Path) -> Stamp:
    """What differs when a file has changed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def contents(path: Path) -> Contents:
    """What is in an HDF5 file, found in another process; remembered while the file stays as it is.

    Raises:
        DamagedFileError: it cannot be read, or the HDF5 library crashes on it.
        InputError: it is no regular file.
    """
    require_file(path)
    place, stamp = path.resolve(), stamp_of(path)
    if place not in _known or _known[place][0] != stamp:
        _known[place] = stamp, _verdict(_prober.look(path))
    verdict = _known[place][1]
    if isinstance(verdict, Contents):
        return verdict
    raise DamagedFileError(f"{path}: {verdict}")


def _verdict(found: dict[str, Any] | None) -> Contents | str:
    """What is in a file, or what is wrong with it."""
    if found is None:
        return (
            "the HDF5 library crashes on it or does not come to an end, so it is damaged or crafted; give a "
            "whole file"
        )
    if "error" in found:
        return f"cannot be read ({found['error']}); give a whole file of the format that its ending names"
    return Contents(
        tuple(found["arrays"]),
        frozenset(found["names"]),
        found["refused"],
        tuple(found["outside"]),
        tuple(found["sparse"]),
    )


def vouch(path: Path, keys: tuple[str, ...]) -> None:
    """Tells of a file that this process has written itself: it needs no other to look at it."""
    _known[path.resolve()] = stamp_of(path), Contents(keys, frozenset(keys), {}, (), ())


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading; what h5py raises on it becomes one of our errors."""
    with reading(path):
        contents(path)
        with h5py.File(path, "r") as file:
            yield file


def array_at(file: h5py.File, path: Path, key: str | None) -> h5py.Dataset:
    """The array of that name; the only one if no name is given.

    Raises:
        InputError: there is none, or its values are not in the file.
    """
    known = contents(path)
    if key is None and len(known.arrays) == 1:
        key = known.arrays[0]
    name = None if key is None else _plain_name(file, path, key)
    if name in known.refused:
        raise InputError(
            f"{path}: {name} is not read, as {known.refused[name]}; copy it into a plain HDF5 file (h5repack)"
        )
    if name not in known.names:
        raise no_such_key(path, key, list(known.arrays))
    return file[name]


def check_chunks(node: h5py.Dataset, window: Window) -> None:
    """Refuses large chunks in a window that unpack to more than they claim: the library would follow them.

    Raises:
        ValueError: for `reading` to put into words.
    """
    if node.chunks is None or node.compression != "gzip":
        return
    size = size_in_bytes(node.chunks, node.dtype)
    starts = [range(s.start // n * n, s.stop, n) for s, n in zip(window, node.chunks, strict=True)]
    for start in product(*starts) if size > _UNSEEN // 3 else ():
        if node.id.get_chunk_info_by_coord(start).size > _UNSEEN:
            mask, packed = node.id.read_direct_chunk(start)
            if not mask:
                check_unpacked("zlib", packed, size, f"the chunk at {start}")


def _plain_name(file: h5py.File, path: Path, key: str) -> str:
    """The name of what a name leads to, without links and within the file.

    Raises:
        InputError: it leads into another file.
    """
    todo, done, links = key.split("/"), list[str](), 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        link = file.get("/".join([*done, part]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{path}: {key} is a link into another file, {link.filename}, which is not followed; name "
                "that file itself"
            )
        links += isinstance(link, h5py.SoftLink)
        if isinstance(link, h5py.SoftLink) and links <= _MAX_LINKS:
            todo = link.path.split("/") + todo
            done = [] if link.path.startswith("/") else done
        else:
            done.append(part)
    return "/".join(done)
