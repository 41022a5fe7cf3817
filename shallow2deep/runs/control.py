"""Whether a run is to stop, to pause or to be given up: asked at points from which the work can go on.

A request comes from a signal, or from another process by the file `control.json` in the run's folder.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Generic, Literal, TypeVar

from shallow2deep.errors import Aborted, DamagedFileError, Interrupted, RunBusyError
from shallow2deep.io.atomic import one_writer, read_json, write_json

log = logging.getLogger(__name__)

T = TypeVar("T")
Request = Literal["stop", "pause", "abort"]
FILE = "control.json"
_REQUESTS: tuple[Request, ...] = ("stop", "pause", "abort")
_POLL = 0.2  # seconds between two looks at the file


def request(run: Path, word: Request) -> None:
    """Asks whoever works on a run to stop, pause or give up at the next safe point.

    Raises:
        RunBusyError: it is being given up already, which is not taken back.
    """
    with one_at_a_time(run):
        if word != "abort" and requested(run) == "abort":
            raise RunBusyError(f"{run}: it is being given up, and cannot {word} any more; wait for that")
        write_json(run / FILE, {"request": word})


def withdraw(run: Path, *words: Request) -> None:
    """Takes a request back, if it is one of `words` or none are given: a paused run goes on."""
    with one_at_a_time(run):
        if not words or requested(run) in words:
            (run / FILE).unlink(missing_ok=True)


def requested(run: Path) -> Request | None:
    """What a run's folder asks for; None also for what is no request: no damaged file stops a run."""
    path = run / FILE
    try:
        values = read_json(path) if path.is_file() else {}
    except DamagedFileError:
        return None
    word = values.get("request") if isinstance(values, dict) else None
    return next((known for known in _REQUESTS if known == word), None)


def one_at_a_time(run: Path) -> AbstractContextManager[None]:
    """For those who change what is asked for."""
    return one_writer(run, "control", wait_s=10)


class Seldom(Generic[T]):
    """A look at a file, again only after a moment: it is asked for at each step of a training."""

    def __init__(self, look: Callable[[], T]):
        self._look, self._looked = look, -_POLL

    def __call__(self) -> T:
        now = time.monotonic()
        if now - self._looked >= _POLL:
            self._looked, self._seen = now, self._look()
        return self._seen


class Control:
    """What is asked of the work on one run.

    Args:
        run: the folder in which other processes leave requests; None if only signals count.
        tell: is told "paused" and "resumed".
    """

    def __init__(self, run: Path | None = None, tell: Callable[[str], None] = lambda word: None):
        self._tell, self._signal = tell, 0
        self._asked = Seldom(lambda: None if run is None else requested(run))
        self._holding = threading.Lock()
        self.held_s = 0.0

    def asked(self) -> Request | None:
        """What is asked for now, if anything."""
        return "stop" if self._signal else self._asked()

    def stop_requested(self) -> bool:
        """Whether the work is to end at the next safe point, to go on later or not."""
        return self.asked() in ("stop", "abort")

    def hold(self) -> None:
        """Waits while the run is paused."""
        if self.asked() != "pause":
            return
        with self._holding:  # the first of several threads tells, and the others wait for it
            if self.asked() != "pause":
                return
            began = time.monotonic()
            log.warning("paused; `s2d resume` lets it go on")
            self._tell("paused")
            while self.asked() == "pause":
                time.sleep(_POLL)
            self.held_s += time.monotonic() - began
            self._tell("resumed")

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
