"""Removes what a run has made, and nothing else: what its manifests and lists name, and files of its own."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import is_partial, one_writer, read_json, sha256
from shallow2deep.runs import changes, control, events, worker
from shallow2deep.runs.engine import (
    BEGUN,
    MANIFEST,
    METADATA,
    MINUTES,
    SCRATCH,
    begun_of,
    is_name,
    manifest_of,
    noted_artifacts,
)
from shallow2deep.runs.folder import CONSOLE, RUN, command_of, require_free

_OWN = ("settings.yaml", "log.txt", CONSOLE, "known.json", MINUTES, events.FILE, changes.FILE, control.FILE)
_LAST = (".control.lock", worker.FILE, RUN)  # as long as these are there, it is a run


@dataclass(frozen=True)
class Contents:
    """What is in a run's folder.

    Attributes:
        made: files and folders that the run has made, in the order in which they are removed.
        stages: folders of stages, removed if nothing else is in them.
        others: what else is there, and stays.
    """

    made: list[Path]
    stages: list[Path]
    others: list[Path]

    @property
    def size(self) -> int:
        """Bytes of what the run has made."""
        return sum(path.lstat().st_size for path in _within(self.made) if not path.is_dir())


def contents(run: Path) -> Contents:
    """Tells what a run has made from what else is in its folder.

    Raises:
        InputError: no run there, or a link in it leads out of it.
    """
    if command_of(run) is None:
        raise InputError(f"{run}: no run here, so nothing is removed; give the folder of a run")
    run = run.resolve()
    said = read_json(run / RUN).get("stages", ())
    stages = [p for p in sorted(run.iterdir()) if _is_stage(p) or (p.name in said and _is_empty(p))]
    own = {*_OWN, *(f".{stage.name}.stale" for stage in stages)}  # known by the stages, so before these
    made = [p for p in sorted(run.iterdir()) if p.name in own or is_partial(p) or _is_shown(p, stages)]
    made += [path for stage in stages for path in _made_by_stage(stage)]
    made += [run / name for name in _LAST if (run / name).exists()]
    for path in _within([*stages, *made]):
        if path.is_symlink() and not path.resolve().is_relative_to(run):
            raise InputError(f"{path} is a link out of the run, so nothing is removed; remove the link first")
    known = {*made, *stages, run / ".lock"}
    others = [p for folder in (run, *stages) for p in sorted(folder.iterdir()) if p not in known]
    return Contents(made, stages, others)


def clean(run: Path) -> Contents:
    """Removes what a run has made, and its folder if nothing else is in it.

    Raises:
        InputError: see `contents`.
        RunBusyError: a process works on it.
    """
    contents(run)
    require_free(run, command_of(run) or "")
    with one_writer(run):
        found = contents(run)
        remove(found.made)
        _remove_empty(found.stages)
    if not any(run.iterdir()) and not run.is_symlink():
        run.rmdir()
    return found


def discard(run: Path) -> None:
    """Removes what the stages have made that are begun and not finished; the run's lock is held."""
    found = contents(run)
    begun = [stage for stage in found.stages if not (stage / MANIFEST).exists()]
    remove([path for path in found.made if path.parent in begun])
    _remove_empty(begun)


def remove(paths: list[Path]) -> None:
    """Removes files, links, and folders with all that is in them."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in filter(_is_empty, folders):
        folder.rmdir()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _is_stage(folder: Path) -> bool:
    """Whether a folder is that of a stage, by what it says of itself."""
    if not folder.is_dir():
        return False
    said = manifest_of(folder) or begun_of(folder)
    return said.get("stage") == folder.name


def _made_by_stage(folder: Path) -> list[Path]:
    """What is a stage's own in its folder; last what tells that it is one."""
    names = {*manifest_of(folder).get("outputs", {}), *SCRATCH}
    if (folder / BEGUN).exists():
        names |= noted_artifacts(folder)
        names |= {path.name for path in folder.iterdir() if is_partial(path) or _is_begun(path)}
    ends = (METADATA, BEGUN, MANIFEST)
    paths = [folder / name for name in (*sorted(names - {*ends}), *ends) if is_name(name)]
    return [path for path in paths if path.exists() or path.is_symlink()]


def _is_begun(folder: Path) -> bool:
    """Whether a folder in one of a stage at work is an array, or holds what only stages make."""
    return folder.is_dir() and any((folder / name).exists() for name in ("zarr.json", *SCRATCH))


def _is_shown(path: Path, stages: list[Path]) -> bool:
    """Whether a file is the copy of a stage's artifact, as it was made."""
    if not path.is_file() or path.is_symlink():
        return False
    digests = [manifest_of(stage).get("outputs", {}).get(path.name) for stage in stages]
    return any(digests) and sha256(path) in digests


def _within(paths: list[Path]) -> Iterator[Path]:
    """The paths and all that is below them; links are not followed."""
    for path in paths:
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _within(list(path.iterdir()))
