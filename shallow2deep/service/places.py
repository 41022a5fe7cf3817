"""The folders that a server uses: what clients name lies in them, or is refused."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from natsort import natsorted

from shallow2deep.errors import InputError, MissingDataError, one_line
from shallow2deep.io.formats import ENDINGS, split_name
from shallow2deep.io.ilp import open_project
from shallow2deep.io.remote import is_remote
from shallow2deep.io.volumes import members
from shallow2deep.runs.detached import names_python
from shallow2deep.settings import absolute_names, with_names

DATA, JOBS, MODELS, INCOMING = "data", "jobs", "models", "incoming"
OF_IMAGES = ("raw", "labels", "strokes", "probabilities", "previews")  # others name one file or folder each
_SEPARATORS = re.compile(r"[/\\:]")


class Places:
    """A server's data root, and further folders that clients may read.

    Args:
        root: with `data/` (what clients upload), `models/` (packages), `jobs/`, and `incoming/` (what is not
            all there yet); names that clients give are relative to it.
        readable: further folders.
    """

    def __init__(self, root: Path, readable: Iterable[Path] = ()):
        self.root = root.resolve()
        self.readable = (self.root, *(folder.resolve() for folder in readable))
        for name in (DATA, JOBS, MODELS, INCOMING):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def readable_path(self, name: str) -> Path:
        """Where a file or folder is that a client names, relative to the root or absolute.

        Raises:
            InputError: outside of the folders; MissingDataError: not there.
        """
        path = self._inside(name, self.root / name, self.readable)
        if not path.exists():
            raise MissingDataError(f"{one_line(name)}: there is no such file; check the path")
        return path

    def image(self, name: str) -> tuple[Path, str | None]:
        """The file and the inner path of an image that a client names; see `readable_path`."""
        file, key = split_name(name)
        if key and ".." in _SEPARATORS.split(key):
            raise InputError(f"{one_line(name)}: .. came in an inner path; give one from the file's top")
        return self.readable_path(str(file)), key

    def name_of(self, path: Path) -> str:
        """How clients call a file: relative to the root if it is below."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def images(self, folder: Path, limit: int) -> list[Path]:
        """The files below a folder that may be images, links apart."""
        found: list[Path] = []
        for place, folders, names in os.walk(folder):
            found += [Path(place, name) for name in [*names, *folders] if _may_be_image(name)]
            folders[:] = sorted(name for name in folders if not (_may_be_image(name) or name[0] == "."))
            if len(found) >= limit:
                break
        return natsorted(path for path in found if not path.is_symlink())[:limit]

    def new_path(self, name: str, folder: str) -> Path:
        """Where a client's new file goes, below a folder of the root.

        Raises:
            InputError: a name that leads elsewhere, or of hidden files.
        """
        parts = _SEPARATORS.split(name)
        if not all(parts) or any(part.startswith(".") or not part.isprintable() for part in parts):
            raise InputError(
                f"{one_line(name)!r}: this cannot be the name of a file here; give one such as name.png or "
                "folder/name.png"
            )
        place = self.root / folder
        return self._inside(name, place.joinpath(*parts), [place])

    def anchored(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with absolute names of data, all of which are there and within the folders.

        Raises:
            InputError: a name that leads out of them, or a file of Python; MissingDataError: no such file.
        """
        if file := names_python(settings):
            raise InputError(
                f"{one_line(file)} holds Python, which no client can have run; leave out network.file"
            )
        values = absolute_names(dict(settings), self.root)
        checked: dict[str, Any] = with_names(values, self._checked)
        return checked

    def _checked(self, key: str, name: str) -> str:
        if key == "enhancer" and not _SEPARATORS.search(name):  # the name of a model
            return name
        pattern = self._inside(name, split_name(name)[0], self.readable)
        for member in members(name) if key in OF_IMAGES else [name]:
            path = self._inside(name, split_name(member)[0], self.readable)
            if not path.exists():
                raise MissingDataError(f"{member}: there is no such file; check the path")
        if key == "ilp":
            lanes = [split_name(lane.raw)[0] for lane in open_project(pattern).lanes if lane.raw]
            for path in (lane for lane in lanes if is_remote(lane) or lane.exists()):
                self._inside(f"{path}, which {name} names", path, self.readable)
        return name

    def _inside(self, name: str, path: Path, folders: Sequence[Path]) -> Path:
        resolved = Path()
        try:
            inside = "\0" not in name and ".." not in _SEPARATORS.split(str(path)) and path.is_absolute()
            resolved = path.resolve() if inside else resolved
            resolved.exists()
        except (OSError, RuntimeError, ValueError):  # a name too long, links in a circle, no text
            inside = False
        if not inside or not any(resolved.is_relative_to(folder) for folder in folders):
            listed = ", ".join(map(str, folders))
            raise InputError(
                f"{one_line(name)}: not in a folder that this server uses ({listed}); upload it, or give a "
                "name within"
            )
        return resolved


def _may_be_image(name: str) -> bool:
    return name[0] != "." and Path(name).suffix.lower() in ENDINGS
