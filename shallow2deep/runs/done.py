"""A list of the pieces of work that are done: a piece counts only when its line is on disk."""

import os
import threading
from pathlib import Path


class DoneLog:
    """Lines of text, each flushed to disk before `add` returns; half a line at the end does not count."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, threading.Lock()
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        self._lines = set(whole.splitlines())

    def __contains__(self, line: str) -> bool:
        return line in self._lines

    def is_empty(self) -> bool:
        return not self._lines

    def add(self, line: str) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
            self._lines.add(line)
