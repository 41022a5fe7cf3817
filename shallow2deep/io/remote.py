"""Zarr that lies elsewhere: read by fsspec, a chunk at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from shallow2deep.errors import InputError, MissingDataError, one_line

_REMOTE = re.compile(r"(?i)(https?|s3|gs|gcs|az|abfss?|memory):/+")
_METADATA = (".zgroup", ".zarray", "zarr.json")
_NAME = re.compile(r"(?i)(.+?\.zarr)(?:/*:(.*)|/+(.*))?/*")


def is_remote(name: str | Path) -> bool:
    """Whether a name is an address that leads to another place than this computer's files.

    >>> is_remote("s3://bucket/a.zarr"), is_remote("file:///data/a.zarr"), is_remote("data/a.zarr")
    (True, False, False)
    """
    return _REMOTE.match(str(name)) is not None


def split_address(name: str) -> tuple[str, str | None]:
    """Address and inner path of a zarr.

    >>> split_address("https://host/data/a.zarr:raw/0"), split_address("s3://bucket/a.zarr")
    (('https://host/data/a.zarr', 'raw/0'), ('s3://bucket/a.zarr', None))

    Raises:
        InputError: it is of no zarr.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f"{name}: what lies elsewhere is read as zarr; give an address such as s3://bucket/a.zarr"
        )
    return match[1], (match[2] or match[3] or "").strip("/") or None


@lru_cache(maxsize=16)
def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(address)
    except ImportError as error:
        raise InputError(
            f"{address}: a package to read from there is missing ({one_line(error)}); pip install "
            "'shallow2deep[remote]'"
        ) from None
    return found


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turns what is raised where nothing answers into one sentence."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise MissingDataError(f"{address}: there is no such zarr; check the address") from None
    except Exception as error:  # each kind of place has errors of its own
        raise InputError(
            f"{address}: cannot be reached ({one_line(error)}); check address and network"
        ) from None


def require_there(address: str) -> None:
    """Raises InputError if a package is missing, and if no zarr is there."""
    with reaching(address):
        fs, path = _opened(address)
        if not any(_is_there(fs, f"{path}/{name}") for name in _METADATA):
            raise FileNotFoundError


def _is_there(fs: Any, file: str) -> bool:
    """Whether there is such a file; raises if nobody answers, other than `exists`."""
    try:
        fs.cat_file(file, start=0, end=1)
    except FileNotFoundError:
        return False
    return True


def size_of(address: str, name: str) -> int | None:
    """Bytes of a file below an address; None if there is none."""
    try:
        with reaching(address):
            fs, path = _opened(address)
            size = fs.size(f"{path}/{name}")
    except MissingDataError:
        return None
    return None if size is None else int(size)


def head_of(address: str, name: str, count: int | None) -> bytes:
    """The first bytes of a file below an address, or all of them."""
    with reaching(address):
        fs, path = _opened(address)
        return bytes(fs.cat_file(f"{path}/{name}", start=0, end=count))
