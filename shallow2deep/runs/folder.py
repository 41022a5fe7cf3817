"""Run folders: the settings, a log, events, and a folder for each stage."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from shallow2deep.errors import InputError, NoRoomError, Shallow2DeepError
from shallow2deep.io.atomic import one_writer, read_json, write_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.runs import control as requests
from shallow2deep.runs.control import Control
from shallow2deep.runs.engine import Stage, run_stages
from shallow2deep.runs.events import BarReader, Events
from shallow2deep.settings import Settings, dump_yaml

log = logging.getLogger("shallow2deep")


def known_of(run: Path) -> Known:
    """What earlier calls found out about a run's inputs and artifacts."""
    return Known(run / "known.json")


def execute(run: Path, command: str, config: Settings, stages: Sequence[Stage], known: Known) -> None:
    """Writes the settings into the run folder and brings its stages to their end.

    Args:
        known: what was found out about the inputs when they were opened.

    Raises:
        InputError: the folder holds something else than a run of this command.
        RunBusyError: another process works on this run.
        Interrupted: a stop was asked for; the same call goes on from there.
        Aborted: it was asked to give up.
    """
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; give a folder for the run")
    if run.is_dir() and _has_content(run) and command_of(run) != command:
        raise InputError(f"{run} holds other things than a run of {command}; choose a new folder")
    control = Control(run)
    with one_writer(run), _log_file(run), control.catching_signals():
        requests.withdraw(run)  # of an earlier call
        write_json(run / "run.json", {"command": command})
        write_text(run / "settings.yaml", dump_yaml(config))
        events = Events(run, [BarReader()])
        try:
            run_stages(run, stages, control, events, known)
        except Shallow2DeepError as error:
            with suppress(NoRoomError):  # what came first is what is told
                events.emit("", "stopped", why=str(error))
            raise
        finally:
            with suppress(NoRoomError):  # all is found out again
                known.save()


def is_at_work(run: Path) -> bool:
    """Whether a process works on a run now."""
    lock = FileLock(run / ".lock", blocking=False)
    try:
        if (run / ".lock").exists():
            lock.acquire()
            lock.release()
    except Timeout:
        return True
    return False


def _has_content(run: Path) -> bool:
    """Whether a folder holds more than a run that was killed at its very start leaves."""
    return any(path.name != "log.txt" and not path.name.startswith(".") for path in run.iterdir())


def command_of(run: Path) -> str | None:
    """The command whose run a folder holds, or None if it holds no run."""
    path = run / "run.json"
    values = read_json(path) if path.is_file() else {}
    return str(values["command"]) if isinstance(values, dict) and "command" in values else None


class _LogFile(logging.FileHandler):
    """A log that cannot be written blocks nothing, and prints nothing instead."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


@contextmanager
def _log_file(run: Path) -> Iterator[None]:
    """Appends what is logged meanwhile to the run's log.txt."""
    handler = _LogFile(run / "log.txt", encoding="utf-8")
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
