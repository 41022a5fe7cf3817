"""Who works on a run: `worker.json` names the process, so that a dead one is told from a living one.

On this computer a process is known by its number and its start, and the run by its folder, so that neither a
number that was given anew nor a copy of a run misleads. A process elsewhere touches the file now and then.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
from pydantic import ValidationError

from shallow2deep.errors import DamagedFileError
from shallow2deep.io.atomic import read_json, this_host, write_json
from shallow2deep.settings import Settings

FILE = "worker.json"
_BEAT = 10.0  # seconds between two signs of life
_SILENT = 120.0  # seconds without one, after which a process elsewhere is taken for dead
_SAME = 2.0  # seconds by which the start of one process may be told differently


class Worker(Settings):
    """A process at work on a run.

    Attributes:
        host: its computer's name; `place` also tells containers apart.
        started, since: when it was started, and when it began with the run; seconds since 1970.
        path, folder: the run's, and what the file system knows it by.
    """

    host: str
    place: str
    pid: int
    started: float
    since: float
    path: str
    folder: int

    @classmethod
    def here(cls, run: Path) -> Self:
        """This process."""
        process = psutil.Process()
        return cls(
            host=socket.gethostname(),
            place=this_host(),
            pid=process.pid,
            started=process.create_time(),
            since=round(time.time(), 1),
            path=str(run.resolve()),
            folder=run.stat().st_ino,
        )

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"

    def is_here(self) -> bool:
        """Whether it is on this computer, and in this container of it."""
        return self.place == this_host()

    def exists(self) -> bool:
        """Whether the process is alive; elsewhere that is not known."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's
            return True

    def why_not(self, run: Path) -> str:
        """Why it does not work on the run whose folder names it; empty if it does."""
        if not self.is_here():
            silent = time.time() - (run / FILE).stat().st_mtime
            return f"it has given no sign of life for {silent / 60:.0f} min" if silent > _SILENT else ""
        if not self.exists():
            return "it is gone"
        if run.stat().st_ino != self.folder:
            return f"it works on {self.path}, of which this is a copy"
        return ""


def named_worker(run: Path) -> Worker | None:
    """Whom a run names, whether alive or not."""
    with suppress(DamagedFileError, ValidationError):
        return Worker.model_validate(read_json(run / FILE)) if (run / FILE).is_file() else None
    return None


def worker_at(run: Path) -> Worker | None:
    """Who works on a run now."""
    worker = named_worker(run)
    try:
        return worker if worker and not worker.why_not(run) else None
    except FileNotFoundError:  # it has just ended
        return None


@contextmanager
def at_work(run: Path) -> Iterator[None]:
    """Names this process as the one at work, meanwhile."""
    write_json(run / FILE, Worker.here(run).model_dump())
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):
                os.utime(run / FILE)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        (run / FILE).unlink(missing_ok=True)
