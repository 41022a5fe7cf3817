"""Files and folders that are whole as soon as they have their name, and one writer for each.

What is not whole yet has a hidden name that tells which process writes it, so that what a killed one has left
can be told from what a living one is about to finish.
"""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from shallow2deep.errors import DamagedFileError, NoRoomError, RunBusyError, Shallow2DeepError

_MAX_JSON = 64 * 2**20
_PARTIAL = re.compile(r"\..*\.partial(?:-([0-9a-f]{8})-(\d+)-\d+)?(?:\.[^.]*)?")
_ZARRS_PARTIAL = re.compile(r".+\.[0-9a-f]{32}\.partial")
_OLD = re.compile(r"\.(.+)\.partial-old")
_ABANDONED = 24 * 3600  # seconds without a change, after which a stranger is taken for dead
_TRIES = 20
_MAX_STEM = 40  # letters of a name that go into a temporary one, which may not grow too long
_living: set[Path] = set()  # temporary paths that this process uses
_swapped: set[Path] = set()  # folders that it replaces right now
_numbers = itertools.count()

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAYS_FULL = re.compile(  # libraries that raise errors of their own
    r"No space left|Not enough free (disk )?space|Disk quota exceeded|File too large"
    r"|\b(os error|errno =) (27|28|122)\b|requested and -?\d+ written"
)

on_written: list[Callable[[Path], None]] = []
"""Called with every path that has just got its name, by the thread that wrote it."""


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Gives a temporary path that takes the place of `path`, on disk, when the block ends well.

    What is written there may be a file or a folder; it has the same ending as `path`. If the block raises, it
    is removed and what was at `path` before stays. What killed processes left in the folder is removed first.

    Args:
        size: bytes that are about to be written, if that is known; for the sentence about a full disk.

    Raises:
        NoRoomError: the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:_MAX_STEM]}.partial-{_me()}-{next(_numbers)}{path.suffix}")
    _living.add(temporary)
    try:
        with room_for(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent)
            yield temporary
            put_in_place(temporary, path)
    except Shallow2DeepError as error:  # in the words of a path that the user knows
        error.args = (str(error).replace(str(temporary), str(path)), *error.args[1:])
        raise
    finally:
        _remove(temporary)
        _living.discard(temporary)
    for tell in on_written:
        tell(path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Gives what is whole its name, on disk, in place of what had that name."""
    aside = path.with_name(f".{path.name}.partial-old")
    sync(temporary)
    try:
        if path.is_dir() or (temporary.is_dir() and path.exists()):  # only files are replaced in one step
            _swapped.add(path)
            path.replace(aside)
        temporary.replace(path)
        sync_folder(path.parent)
        if path in _swapped:
            _remove(aside)
    finally:
        _swapped.discard(path)


def sweep(folder: Path, alone: bool = False) -> None:
    """Removes what killed processes have left in a folder, and brings back what they had put aside.

    Args:
        alone: nobody else writes there, as the folder is locked: all that is not whole goes, in subfolders as
            well, and what zarr has left.
    """
    for path in sorted(folder.rglob("*") if alone else folder.iterdir()):
        if old := _OLD.fullmatch(path.name):
            original = path.with_name(old[1])
            if original in _swapped:
                continue
            if original.exists():
                _remove(path)
            else:  # killed between the two renames
                path.replace(original)
        elif partial := _PARTIAL.fullmatch(path.name):
            if path not in _living and (alone or _is_dead(path, partial[1], partial[2])):
                _remove(path)
        elif alone and _ZARRS_PARTIAL.fullmatch(path.name):
            _remove(path)


def is_partial(path: Path) -> bool:
    """Whether it has the name of something that is not whole yet, or was put aside meanwhile."""
    return any(one.fullmatch(path.name) for one in (_PARTIAL, _OLD, _ZARRS_PARTIAL))


@cache
def this_host() -> str:
    """This computer, or this container of it: where a process is known by its number."""
    space = Path("/proc/self/ns/pid")
    number = space.stat().st_ino if space.exists() else 0
    return f"{zlib.crc32(f'{socket.gethostname()} {number}'.encode()):08x}"


def _me() -> str:
    return f"{this_host()}-{os.getpid()}"


def _is_dead(path: Path, host: str | None, process: str | None) -> bool:
    """Whether nobody is left to finish what a temporary path holds."""
    if host is None or process is None:
        return False  # perhaps none of ours
    if host != this_host():
        newest = max((p.stat().st_mtime for p in (path, *path.rglob("*"))), default=0.0)
        return time.time() - newest > _ABANDONED
    return int(process) == os.getpid() or not psutil.pid_exists(int(process))


@contextmanager
def one_writer(folder: Path, name: str = "", wait_s: float = 0) -> Iterator[None]:
    """Keeps other processes from writing into a folder, or with a `name` only what bears it, meanwhile.

    Args:
        wait_s: how long to wait for another one.

    Raises:
        RunBusyError: another one does so now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f".{name}.lock" if name else ".lock")
    lock = FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout:
        raise RunBusyError(
            f"{folder / name}: another process works on it now; wait for that, or give another place"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def room_for(path: Path, size: int = 0) -> Iterator[None]:
    """Turns what libraries raise on a full disk into one sentence.

    Args:
        path: what is written in the block.
        size: its bytes, if they are known.

    Raises:
        NoRoomError: the disk is full, or a limit of what this user may write is reached.
    """
    place = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    try:
        yield
    except Shallow2DeepError:
        raise
    except Exception as error:
        if not _is_of_a_full_disk(error):
            raise
        needed = _in_words(size) if size else "more than that"
        raise NoRoomError(
            f"{path}: no room to write it ({_reason(error)}): {_in_words(free)} are free on its disk and it "
            f"needs {needed}; make room, and the same command goes on"
        ) from None


def _is_of_a_full_disk(error: BaseException) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    return number in _FULL or _SAYS_FULL.search(str(error)) is not None


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number or errno.ENOSPC)


def _in_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (UTF-8, unix line ends), whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, obj: Any) -> None:
    """Writes `obj` as JSON, the same bytes for equal content."""
    write_text(path, json.dumps(obj, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        DamagedFileError: it is missing, not JSON, or larger than 64 MiB.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ValueError("no file of that kind")
        if size > _MAX_JSON:
            raise DamagedFileError(f"{path}: {size} bytes of JSON are more than the {_MAX_JSON} expected")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path}: cannot be read as JSON ({error}); restore or remove it") from None


def sha256(path: str | Path) -> str:
    """Checksum of a file's bytes; of a folder, that of its files' relative names and checksums."""
    path = Path(path)
    if path.is_dir():
        files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
        listing = "".join(f"{name}\0{sha256(file)}\n" for name, file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
        sync_folder(path)
    else:
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until a folder's list of names is on the disk."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for _ in range(_TRIES):  # where zarr has failed, some of its threads still write
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
            time.sleep(0.1)
    else:
        path.unlink(missing_ok=True)
