"""What was found out about files, remembered while they keep their size and time of change."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from shallow2deep.errors import DamagedFileError
from shallow2deep.io import atomic
from shallow2deep.io.remote import is_remote

T = TypeVar("T")
_FRESH = 2.0  # seconds: a file that has just changed may change again without its time telling


class Known:
    """Facts by name, each true while the file that it is about stays as it was.

    Args:
        path: a JSON file that may hold facts of earlier calls, and into which `save` writes.
    """

    def __init__(self, path: Path | None = None):
        self._path, self._changed = path, False
        self._facts: dict[str, Any] = {}
        self._states: dict[Path, str] = {}  # of inputs, when they were first looked at
        self._unsettled: set[str] = set()
        if path is not None and path.is_file():
            try:
                values = atomic.read_json(path)
            except DamagedFileError:
                values = {}  # all is found out again
            self._facts = values if isinstance(values, dict) else {}

    def fact(self, file: Path, name: str, find: Callable[[], T]) -> T:
        """A JSON-able fact about a file or folder, found out if it is not known.

        Args:
            name: tells the fact from others, also of other files.

        What lies elsewhere may change without a sign, so facts about that are found anew.
        """
        if is_remote(file):
            return find()
        if file not in self._states:
            self._states[file] = _state_of(file)
        return self._fact(file, self._states[file], name, find)

    def _fact(self, file: Path, state: str, name: str, find: Callable[[], T]) -> T:
        entry = self._facts.get(name)
        if isinstance(entry, dict) and entry.get("file") == state and "value" in entry:
            value: T = entry["value"]
            return value
        settled = time.time() - int(state.split()[0]) / 1e9 > _FRESH
        found = find()
        if state == _state_of(file):  # did not change meanwhile
            self._facts[name], self._changed = {"file": state, "value": found}, True
            (self._unsettled.discard if settled else self._unsettled.add)(name)
        return found

    def changed(self) -> Path | None:
        """The first of the files that facts are about that is not any more as when it was first looked at."""
        return next((file for file, state in self._states.items() if _state_or_none(file) != state), None)

    def once(self, name: str, check: Callable[[], object]) -> None:
        """Calls `check` unless it was passed before; `name` holds fingerprints of all that it looks at."""
        key = f"passed {hashlib.sha256(name.encode()).hexdigest()}"
        if key not in self._facts:
            check()
            self._facts[key], self._changed = True, True

    def sha256(self, path: Path) -> str:
        """See `atomic.sha256`."""
        place = path.resolve()
        digest = self._fact(place, _state_of(place), f"sha256 {place}", lambda: atomic.sha256(path))
        return str(digest)  # whatever a damaged memory holds, it is compared with a checksum

    def save(self) -> None:
        """Writes what was found out since, but for facts on files that had changed a moment before."""
        if self._path is None or not self._changed:
            return
        facts = {name: entry for name, entry in self._facts.items() if name not in self._unsettled}
        atomic.write_json(self._path, facts)
        self._changed = False


def _state_or_none(path: Path) -> str | None:
    try:
        return _state_of(path)
    except OSError:
        return None


def _state_of(path: Path) -> str:
    """Size and time of change; of a folder, of all that is in it. The newest time comes first."""
    if not path.is_dir():
        found = path.stat()
        return f"{found.st_mtime_ns} {found.st_size}"
    files = sorted(p for p in path.rglob("*") if p.is_file())
    states = [(p.relative_to(path).as_posix(), p.stat()) for p in files]
    listing = "".join(f"{name} {s.st_mtime_ns} {s.st_size}\n" for name, s in states)
    newest = max((s.st_mtime_ns for _, s in states), default=0)
    return f"{newest} {hashlib.sha256(listing.encode()).hexdigest()}"
