"""Run folders: the settings, a log, events, and a folder for each stage."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from shallow2deep.errors import InputError, NoRoomError, RunBusyError, Shallow2DeepError
from shallow2deep.io.atomic import one_writer, read_json, write_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.runs import control as requests
from shallow2deep.runs.changes import C, Changed, with_made
from shallow2deep.runs.control import Control
from shallow2deep.runs.engine import Stage, run_stages
from shallow2deep.runs.events import BarReader, Events
from shallow2deep.runs.worker import FILE as WORKER
from shallow2deep.runs.worker import at_work, named_worker, worker_at
from shallow2deep.settings import dump_yaml

log = logging.getLogger("shallow2deep")
RUN = "run.json"
CONSOLE = "console.txt"  # what a process without a terminal says


def known_of(run: Path) -> Known:
    """What earlier calls found out about a run's inputs and artifacts."""
    return Known(run / "known.json")


def require_free(run: Path, command: str) -> None:
    """Whether a command can work in a folder.

    Raises:
        InputError: it holds something else than a run of this command.
        RunBusyError: another process works on it.
    """
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; give a folder for the run")
    if run.is_dir() and _has_content(run) and command_of(run) != command:
        raise InputError(f"{run} holds other things than a run of {command}; choose a new folder")
    if worker := worker_at(run):
        hint = "" if worker.is_here() else "; if that was killed, try again in two minutes"
        raise RunBusyError(
            f"{run}: another process works on it now ({worker}{hint}); wait for that, or give another place"
        )


def execute(
    run: Path,
    command: str,
    config: C,
    stages_of: Callable[[C], Sequence[Stage]],
    known: Known,
    beside: Sequence[Path] = (),
) -> None:
    """Writes the settings into the run folder and brings its stages to their end.

    Args:
        stages_of: the stages that settings ask for, with all data opened and checked; called again when
            settings were changed by hand.
        known: what was found out about the inputs when they were opened.
        beside: other runs: what is finished there and is the same is taken over.

    Raises:
        InputError: the folder holds something else than a run of this command.
        RunBusyError: another process works on this run.
        Interrupted: a stop was asked for; the same call goes on from there.
        Aborted: it was asked to give up.
    """
    require_free(run, command)
    config = with_made(config, run)
    stages = stages_of(config)
    with one_writer(run), _log_file(run):
        _tell_left_behind(run)
        events = Events(run, [BarReader()])
        control = Control(run, partial(events.emit, ""))
        with control.catching_signals(), at_work(run):
            requests.withdraw(run, "stop", "abort")  # of an earlier call; what is paused stays so
            stages_said = {stage.name: list(stage.changeable) for stage in stages}
            write_json(run / RUN, {"command": command, "stages": stages_said})
            events.emit("", "started")
            try:
                while True:
                    write_text(run / "settings.yaml", dump_yaml(config))
                    try:
                        run_stages(run, stages, control, events, known, beside)
                        break
                    except Changed:
                        config = with_made(config, run)
                        stages = stages_of(config)
                requests.withdraw(run)
                events.emit("", "finished")
            except Shallow2DeepError as error:
                with suppress(NoRoomError):  # what came first is what is told
                    events.emit("", "stopped", why=str(error))
                raise
            finally:
                with suppress(NoRoomError):  # all is found out again
                    known.save()


def _tell_left_behind(run: Path) -> None:
    """Says whom the folder names that does not work on it."""
    if worker := named_worker(run):
        log.info("%s was the last to work on this run; %s", worker, worker.why_not(run))


def _has_content(run: Path) -> bool:
    """Whether a folder holds more than a run that was killed at its very start leaves."""
    begun = ("log.txt", CONSOLE, WORKER)
    return any(path.name not in begun and not path.name.startswith(".") for path in run.iterdir())


def command_of(run: Path) -> str | None:
    """The command whose run a folder holds, or None if it holds no run."""
    path = run / RUN
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
