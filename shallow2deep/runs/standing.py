"""Where a run stands, told from its folder alone, by any process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shallow2deep.errors import InputError
from shallow2deep.runs.control import Request, requested
from shallow2deep.runs.events import Event, latest
from shallow2deep.runs.folder import command_of
from shallow2deep.runs.worker import Worker, named_worker, worker_at

Word = Literal["running", "paused", "finished", "interrupted", "aborted"]


@dataclass(frozen=True)
class Standing:
    """What a run does, or how it has ended.

    Attributes:
        worker: the process at work; a run can be paused without one.
        asked: what was asked of it and is not done yet.
        last: the newest event.
        why: why it has ended, if it has and is not finished.
    """

    word: Word
    worker: Worker | None = None
    asked: Request | None = None
    last: Event | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.worker is None:
            return f"{self.word}{f' ({self.why})' if self.why else ''}"
        asked = f", asked to {self.asked}" if self.asked and self.word == "running" else ""
        return f"{self.word}{asked} ({self.worker})"


def standing(run: Path) -> Standing:
    """Where a run stands now.

    Raises:
        InputError: no run there.
    """
    worker = worker_at(run)
    if worker is None and command_of(run) is None:
        raise InputError(f"{run}: no run here; give the folder that was given as --run")
    asked, (_, events) = requested(run), latest(run)
    last = events[-1] if events else None
    if worker is not None:
        turns = [event["kind"] for event in events if event["kind"] in ("started", "paused", "resumed")]
        paused = asked == "pause" and turns[-1:] == ["paused"]
        return Standing("paused" if paused else "running", worker, asked, last)
    if last and last["kind"] == "finished":
        return Standing("finished", last=last)
    word: Word = {"pause": "paused", "abort": "aborted"}.get(asked or "", "interrupted")  # type: ignore[assignment]
    return Standing(word, asked=asked, last=last, why=_why(run, last))


def _why(run: Path, last: Event | None) -> str:
    """Why nobody works on a run that is not finished."""
    if last and last["kind"] == "stopped":
        return str(last.get("why", ""))
    if left := named_worker(run):
        return f"{left} was at work; {left.why_not(run)}"
    return ""
