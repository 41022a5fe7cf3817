"""Whether a run is to stop, to pause or to be given up: asked at points from which the work can go on.

A request comes from a signal, or from another process by the file `control.json` in the run's folder.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from shallow2deep.errors import Aborted, DamagedFileError, Interrupted
from shallow2deep.io.atomic import read_json, write_json

log = logging.getLogger(__name__)

Request = Literal["stop", "pause", "abort"]
FILE = "control.json"
_REQUESTS: tuple[Request, ...] = ("stop", "pause", "abort")
_POLL = 0.2  # seconds between two looks at the file


def request(run: Path, word: Request) -> None:
    """Asks whoever works on a run to stop, pause or give up at the next safe point."""
    write_json(run / FILE, {"request": word})


def withdraw(run: Path) -> None:
    """Takes a request back: a paused run goes on."""
    (run / FILE).unlink(missing_ok=True)


class Control:
    """What is asked of the work on one run.

    Args:
        run: the folder in which other processes leave requests; None if only signals count.
    """

    def __init__(self, run: Path | None = None):
        self._run, self._signal = run, 0
        self._looked, self._seen = 0.0, None  # type: tuple[float, Request | None]

    def asked(self) -> Request | None:
        """What is asked for now, if anything."""
        if self._signal:
            return "stop"
        now = time.monotonic()
        if self._run is not None and now - self._looked >= _POLL:
            self._looked, self._seen = now, _request_in(self._run / FILE)
        return self._seen

    def stop_requested(self) -> bool:
        """Whether the work is to end at the next safe point, to go on later or not."""
        return self.asked() in ("stop", "abort")

    def hold(self) -> None:
        """Waits while the run is paused."""
        if self.asked() == "pause":
            log.warning("paused; it goes on when the request in %s is gone", FILE)
        while self.asked() == "pause":
            time.sleep(_POLL)

    def check(self) -> None:
        """Waits here while the run is paused, and ends the work here if that is asked for.

        Raises:
            Interrupted: the work is to stop; the same command goes on.
            Aborted: the work is to be given up.
        """
        self.hold()
        if self._signal:
            name = signal.Signals(self._signal).name
            raise Interrupted(f"stopped by {name}; run the same command again to go on", 128 + self._signal)
        if self.asked() == "stop":
            raise Interrupted("stopped on request; run the same command again to go on", 128 + signal.SIGTERM)
        if self.asked() == "abort":
            raise Aborted("given up on request; what is finished stays")

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Turns SIGINT and SIGTERM into a request to stop; a second signal ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = (signal.SIGINT, signal.SIGTERM)
        before = {name: signal.getsignal(name) for name in names}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number
            log.warning("%s: stopping at the next safe point …", signal.Signals(number).name)
            for name in names:
                signal.signal(name, before[name])

        for name in names:
            signal.signal(name, note)
        try:
            yield
        finally:
            for name in names:
                signal.signal(name, before[name])


def _request_in(path: Path) -> Request | None:
    """None also for what is no request: a run is not stopped by a damaged file."""
    try:
        values = read_json(path) if path.is_file() else {}
    except DamagedFileError:
        return None
    word = values.get("request") if isinstance(values, dict) else None
    return next((known for known in _REQUESTS if known == word), None)
