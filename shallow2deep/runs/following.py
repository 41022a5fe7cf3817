"""Follows a run from any process: what happens, as it happens, until nobody works on it any more."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shallow2deep.errors import InputError
from shallow2deep.runs.events import FILE, Event, latest, read_events
from shallow2deep.runs.folder import command_of
from shallow2deep.runs.worker import worker_at

_POLL = 0.3  # seconds


def follow(run: Path, wait_s: float = 30) -> Iterator[Sequence[Event]]:
    """Events in order: first those that there are, perhaps none, then new ones as they come.

    It ends when nobody works on the run: at once if nobody does, after its last event if its process ends,
    also by a kill, and two minutes after the last sign of life of a process on another computer.

    Args:
        wait_s: how long to wait for a run that has not begun.

    Raises:
        InputError: no run there, also not later.
    """
    end = time.monotonic() + wait_s
    while not (working := worker_at(run) is not None) and command_of(run) is None:
        if time.monotonic() > end:
            raise InputError(f"{run}: no run here, and none has begun in {wait_s:g} s; check the folder")
        time.sleep(_POLL)
    position, events = latest(run)
    yield events
    while working:
        working = worker_at(run) is not None  # asked first, so that the last events are not missed
        found = list(read_events(run / FILE, position))
        if found:
            position = found[-1][0]
            yield [event for _, event in found]
        else:
            time.sleep(_POLL)
