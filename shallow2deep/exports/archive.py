"""Reads files out of a package, which is a zip file or a folder; nothing of it is trusted.

Names, links, sizes and ratios of compression are checked before anything is unpacked.
"""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from shallow2deep.errors import DamagedFileError, InputError, TooLittleMemoryError, one_line
from shallow2deep.io.memory import require_memory

RDF_NAMES = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
MAX_YAML, _MAX_FILES, _MAX_BYTES = 2**20, 10_000, 8 * 2**30
_MAX_RATIO, _ANY_RATIO = 100, 64 * 2**20  # a file of up to so many bytes may be compressed at any ratio


def rdf_name(path: Path) -> str:
    """The name of the description in a package."""
    with reading(path):
        if not path.exists():
            raise InputError(f"{path}: there is no such package; check the path")
        if path.is_dir():
            names = {file.name for file in path.iterdir()}
        else:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
    for name in RDF_NAMES:
        if name in names:
            return name
    raise InputError(f"{path}: no rdf.yaml in it; give the zip file or folder of a bioimage.io package")


def read_file(path: Path, source: str | None, limit: int = _MAX_BYTES) -> bytes:
    """The bytes of a file in the package.

    Raises:
        InputError: `source` is not a file of the package.
        DamagedFileError: the archive is damaged or crafted, or the file larger than `limit`.
    """
    if source is None or not _is_plain(source):
        raise InputError(
            f"{path}: {source!r:.80} is not a file in the package; get the package as one complete zip file"
        )
    name = PurePosixPath(source).as_posix()
    with reading(path):
        return _read_from_folder(path, name, limit) if path.is_dir() else _read_from_zip(path, name, limit)


def repack(data: bytes, keep: Callable[[str], bool] = lambda name: True) -> bytes:
    """An archive of torch's with the same entries, uncompressed and without dates.

    torch reads archives by code of its own; what it gets from here is what was checked.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name, info in _checked_entries(old).items():
            if keep(name):
                new.writestr(zipfile.ZipInfo(name), old.read(info))
    return out.getvalue()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a damaged or crafted archive raises into one sentence."""
    try:
        yield
    except MemoryError:
        raise TooLittleMemoryError(f"{path}: too little memory to read it; free some") from None
    except (
        OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DamagedFileError(
            f"{path}: not a usable package ({one_line(error)}); get or export it again"
        ) from None


def _read_from_folder(path: Path, name: str, limit: int) -> bytes:
    file = path / name
    if file.resolve() != path.resolve() / name:
        raise ValueError(f"{name} is a link")
    _check_size(name, file.stat().st_size, limit)
    return file.read_bytes()


def _read_from_zip(path: Path, name: str, limit: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
        infos = _checked_entries(archive)
        if name not in infos:
            raise ValueError(f"{name} is missing")
        _check_size(name, infos[name].file_size, limit)
        return archive.read(infos[name])


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, more than the {limit} expected")
    require_memory(size, f"reading {name}")


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name.

    Raises:
        ValueError: for anything that a package has no use for: links, paths that lead out, bombs.
    """
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise ValueError(f"{len(infos)} entries, more than {_MAX_FILES}")
    if len({info.filename for info in infos}) != len(infos):
        raise ValueError("two entries of one name")
    for info in infos:
        if not _is_plain(info.filename) or stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"an entry {info.filename!r:.80}, which is a link or leads out of the package")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename} is compressed in a way that packages are not")
        if info.file_size > _ANY_RATIO + _MAX_RATIO * info.compress_size:
            raise ValueError(
                f"{info.filename} would grow from {info.compress_size} to {info.file_size} bytes"
            )
    total = sum(info.file_size for info in infos)
    if total > _MAX_BYTES:
        raise ValueError(f"{total} bytes when unpacked, more than {_MAX_BYTES}")
    require_memory(total, f"unpacking {len(infos)} files")
    return {info.filename: info for info in infos}


def _is_plain(name: str) -> bool:
    """Whether a name stays within its folder, on every system."""
    return bool(name) and not re.search(r"[\\:\0]|^/|(^|/)\.\.(/|$)", name)
