"""`s2d watch`: what a run does, as it does it, on any terminal or into a file."""

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from shallow2deep.runs.events import Event
from shallow2deep.runs.following import follow
from shallow2deep.runs.standing import Standing, standing

_INTERVAL = 10.0  # seconds between two lines of progress where there is no terminal
_TOLD = {
    "begun": "{stage}: begun",
    "done": "{stage}: done",
    "picture": "{stage}: {what}: {path}",
    "changed": "{stage}: changed by hand at step {step}",
    "refused": "{why}",
    "paused": "paused",
    "resumed": "resumed",
}


def watch(run: Path, wait_s: float = 30, out: TextIO = sys.stdout) -> Standing:
    """Writes what happens in a run until nobody works on it any more, and where it stands then.

    Raises:
        InputError: no run there, and none has begun in time.
    """
    screen, attached = _Screen(out), False
    for events in follow(run, wait_s):
        if not attached:
            screen.line(f"{run}: {standing(run)}")
        for event in events if attached else _newest(events):
            if event["kind"] == "progress":
                screen.progress(progress_line(event), event["done"] >= event["total"])
            elif text := _TOLD.get(event["kind"]):
                screen.line(text.format_map(defaultdict(str, event)))
        attached = True
    found = standing(run)
    screen.line(f"{run}: {found}")
    return found


def _newest(events: Sequence[Event]) -> list[Event]:
    """The last picture of each kind, and the last progress."""
    found = {(event["stage"], event["what"]): event for event in events if event["kind"] == "picture"}
    return [*found.values(), *[event for event in events if event["kind"] == "progress"][-1:]]


def progress_line(event: Event) -> str:
    """Progress in words: stage, step, loss, best score and time left.

    >>> progress_line({"stage": "enhancer", "what": "training", "done": 3, "total": 9, "left_s": 75})
    'enhancer: training 3 of 9, 0:01:15 left'
    """
    parts = [f"{event['stage']}: {event['what']} {event['done']} of {event['total']}"]
    parts += [f"{name} {event[name]:.3f}" for name in ("loss", "best") if isinstance(event.get(name), float)]
    if "left_s" in event:
        minutes, seconds = divmod(int(event["left_s"]), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return ", ".join(parts)


def _printable(text: str) -> str:
    """Without what would steer a terminal, whoever has written it into the folder."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class _Screen:
    """A terminal, with progress on one line that changes; or a file, with a line now and then."""

    def __init__(self, out: TextIO):
        self._out, self._live = out, out.isatty()
        self._unfinished, self._last = False, -_INTERVAL

    def line(self, text: str) -> None:
        self._out.write("\n" * self._unfinished + _printable(text) + "\n")
        self._out.flush()
        self._unfinished = False

    def progress(self, text: str, complete: bool) -> None:
        now = time.monotonic()
        if self._live:
            self._out.write("\r\x1b[K" + _printable(text)[: shutil.get_terminal_size().columns - 1])
            self._out.flush()
            self._unfinished = True
        elif complete or now - self._last >= _INTERVAL:
            self.line(text)
            self._last = now
