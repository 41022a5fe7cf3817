"""A list of the pieces of work that are done: one counts if its line is on disk and it is as written."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from shallow2deep.io.atomic import room_for, write_text

log = logging.getLogger(__name__)


class DoneLog:
    """Lines of a piece's name and its checksum, each flushed to disk before `add` returns.

    Half a line at the end does not count, and neither does a piece that is no longer what it was: it is taken
    out of the list, to be made again.

    Args:
        path: the file.
        checksum: from a piece's name to the sha256 of what is on disk of it.
    """

    def __init__(self, path: Path, checksum: Callable[[str], str]):
        self._path, self._checksum, self._lock = path, checksum, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        written = dict(line.rpartition(" ")[::2] for line in lines)
        self._pieces = {piece for piece, digest in written.items() if self._is_as_written(piece, digest)}
        self.damaged = sorted(written.keys() - self._pieces)
        for piece in self.damaged:
            log.warning("%s: %s is no longer what was written; it is made again", path.parent.parent, piece)
        kept = "".join(f"{piece} {written[piece]}\n" for piece in written if piece in self._pieces)
        if kept != text:
            write_text(path, kept)

    def _is_as_written(self, piece: str, digest: str) -> bool:
        try:
            return self._checksum(piece) == digest
        except (OSError, ValueError):  # what is named is not there, or is no name at all
            return False

    def __contains__(self, piece: str) -> bool:
        return piece in self._pieces

    def clear(self) -> None:
        """All is to be made again."""
        write_text(self._path, "")
        self._pieces.clear()

    def add(self, piece: str) -> None:
        """Notes a piece as it is on the disk."""
        line = f"{piece} {self._checksum(piece)}\n".encode()
        with self._lock, room_for(self._path, len(line)), self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            self._pieces.add(piece)
