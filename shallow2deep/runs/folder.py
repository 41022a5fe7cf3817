"""Run folders: the settings, a log and a folder for each stage."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from shallow2deep.settings import Settings, dump_yaml
from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.io.atomic import read_json, write_json, write_text
from shallow2deep.runs.engine import Stage, catching_signals, run_stages

log = logging.getLogger("shallow2deep")


def execute(run: Path, command: str, config: Settings, stages: Sequence[Stage]) -> None:
    """Writes the settings into the run folder and brings its stages to their end.

    Raises:
        InputError: the folder holds something else than a run of this command.
        RunBusyError: another process works on this run.
        Interrupted: a signal came; the same call goes on from there.
    """
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; give a folder for the run")
    if run.is_dir() and _has_content(run) and command_of(run) != command:
        raise InputError(f"{run} holds other things than a run of {command}; choose a new folder")
    with _locked(run), _log_file(run), catching_signals():
        write_json(run / "run.json", {"command": command})
        write_text(run / "settings.yaml", dump_yaml(config))
        run_stages(run, stages)


def _has_content(run: Path) -> bool:
    """Whether a folder holds more than a run that was killed at its very start leaves."""
    return any(path.name != "log.txt" and not path.name.startswith(".") for path in run.iterdir())


def command_of(run: Path) -> str | None:
    """The command whose run a folder holds, or None if it holds no run."""
    path = run / "run.json"
    values = read_json(path) if path.is_file() else {}
    return str(values["command"]) if isinstance(values, dict) and "command" in values else None


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Keeps other processes off this run."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise RunBusyError(
            f"{run}: another process works on this run; wait for it or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _log_file(run: Path) -> Iterator[None]:
    """Appends what is logged meanwhile to the run's log.txt."""
    handler = logging.FileHandler(run / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
