"""What happens in a run, as it happens: JSON lines in `events.jsonl`, written by one process, read by any.

A line is one write, so that a reader meets whole lines, and at the end perhaps the beginning of one, which it
leaves for later. Fields: `time` (seconds since 1970), `stage`, `kind`, and more by kind. Of a stage:
"begun", "progress" (`what`, `done`, `total`, `left_s` in seconds, once that can be told, and numbers such as
`loss` and `best`), "picture" (`what`, `path`), "changed" (a `Change`), "refused" (`why`), "done". Of the run,
with an empty stage: "started", "paused", "resumed", "stopped" (`why`), "finished".
"""

import errno
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shallow2deep.io.atomic import room_for
from shallow2deep.progress import Bar

FILE = "events.jsonl"
Event = Mapping[str, Any]
_INTERVAL = 1.0  # seconds between two lines of progress
_MAX_TAIL = 2**20  # bytes that `last` looks at


class Events:
    """The one writer of a run's events.

    Args:
        run: the folder; None if nobody reads.
        readers: called with every event, also those of progress that are too frequent for the file.
    """

    def __init__(self, run: Path | None = None, readers: Sequence[Callable[[Event], None]] = ()):
        self._path = None if run is None else run / FILE
        self._readers = readers
        self._started: tuple[str, str, int, float] = ("", "", 0, 0.0)  # stage, what, done then, when
        self._written = 0.0
        if self._path is not None and self._path.exists():
            _drop_half_a_line(self._path)

    def emit(self, stage: str, kind: str, **values: Any) -> None:
        """Tells the readers, and appends a line."""
        if kind == "resumed":  # a pause tells nothing of how long the rest takes
            self._started = ("", "", 0, 0.0)
        self._tell({"time": round(time.time(), 3), "stage": stage, "kind": kind, **values}, to_file=True)

    def progress(self, stage: str, what: str, done: int, total: int, **values: float) -> None:
        """Tells how far a stage is; into the file at most once a second, and always the last."""
        now = time.monotonic()
        if self._started[:2] != (stage, what) or done < self._started[2]:
            self._started, self._written = (stage, what, done, now), 0.0
        event: dict[str, Any] = {"time": round(time.time(), 3), "stage": stage, "kind": "progress"}
        event |= {"what": what, "done": done, "total": total, **values}
        since, begun = done - self._started[2], self._started[3]
        if since > 0:
            event["left_s"] = round((now - begun) / since * (total - done), 1)
        due = now - self._written >= _INTERVAL or done >= total
        self._written = now if due else self._written
        self._tell(event, to_file=due)

    def _tell(self, event: Event, to_file: bool) -> None:
        for reader in self._readers:
            reader(event)
        if self._path is None or not to_file:
            return
        line = (json.dumps({k: v for k, v in event.items() if v == v}) + "\n").encode()  # NaN is no JSON
        with room_for(self._path, len(line)), self._path.open("ab", buffering=0) as file:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _drop_half_a_line(path: Path) -> None:
    """What a killed writer left at the end, so that the next line stands for itself."""
    with path.open("r+b") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _MAX_TAIL)
        file.seek(start)
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)


def read_events(path: Path, start: int = 0) -> Iterator[tuple[int, Event]]:
    """The whole lines from byte `start` on, each with the position behind it, from which to read on."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if _is_event(event):
                yield start, event


def _is_event(values: Any) -> bool:
    """Whether a line holds what its readers count on."""
    if not isinstance(values, dict):
        return False
    words = [values.get(name) for name in ("kind", "stage")]
    if not all(isinstance(word, str) for word in words):
        return False
    if values["kind"] == "picture":
        return isinstance(values.get("what"), str) and isinstance(values.get("path"), str)
    numbers = [values.get(name) for name in ("done", "total")] + [values.get("left_s", 0)]
    told = isinstance(values.get("what"), str) and all(map(_is_number, numbers))
    return told or values["kind"] != "progress"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def latest(run: Path) -> tuple[int, list[Event]]:
    """The newest events of a run, and the position behind them."""
    path = run / FILE
    end = start = max(0, path.stat().st_size - _MAX_TAIL) if path.is_file() else 0
    found = []
    for end, event in read_events(path, start):  # noqa: B007
        found.append(event)
    return end, found


def last_event(run: Path) -> Event | None:
    """The newest event of a run."""
    _, events = latest(run)
    return events[-1] if events else None


class BarReader:
    """Shows progress as a bar."""

    def __init__(self) -> None:
        self._bar = Bar()

    def __call__(self, event: Event) -> None:
        if event["kind"] != "progress":
            self._bar.close()
            return
        shown = {name: event[name] for name in ("loss", "best") if name in event}
        self._bar.progress(event["what"], event["done"], event["total"], **shown)
