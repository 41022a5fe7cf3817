"""Files and folders that are whole as soon as they have their name."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shallow2deep.errors import DamagedFileError, InputError

_MAX_JSON = 64 * 2**20


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path that takes the place of `path`, on disk, when the block ends well.

    What is written there may be a file or a folder; it has the same ending as `path`. If the block raises, it
    is removed and what was at `path` before stays. The temporary name depends on `path` alone, so that what a
    killed process left is overwritten by the next attempt: one process at a time may write a path.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    aside = path.with_name(f".{path.stem}.old{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside.exists() and not path.exists():  # killed between the two renames below
        aside.replace(path)
    _remove(temporary)
    _remove(aside)
    try:
        yield temporary
        sync(temporary)
        if path.is_dir() or (temporary.is_dir() and path.exists()):  # only a file can be replaced in one step
            path.replace(aside)
        temporary.replace(path)
    except InputError as error:  # in the words of a path that the user knows
        _remove(temporary)
        raise type(error)(str(error).replace(str(temporary), str(path))) from None
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(path.parent)
    _remove(aside)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (UTF-8, unix line ends), whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


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
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
