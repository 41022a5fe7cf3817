"""Runs in processes of their own, which go on when the terminal or the program that started them is gone."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallow2deep.errors import InputError, NotStartedError
from shallow2deep.runs.folder import CONSOLE, command_of, require_free
from shallow2deep.runs.worker import worker_at
from shallow2deep.settings import read_yaml

_POLL = 0.1  # seconds
_SAYS = "s2d: "  # how the command line begins the sentence of an error


@dataclass(frozen=True)
class Started:
    """A process at work on a run.

    Attributes:
        pid: None if the run was finished before, so that there was nothing to do.
        console: the file that gets what it would have said on a terminal.
    """

    run: Path
    pid: int | None
    console: Path


def start(
    command: str,
    arguments: Sequence[str],
    run: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Started:
    """Starts a command of ours for a run, and returns when it has looked at settings and data and begins.

    Args:
        command: adapt or enhancer-train.
        arguments: as on the command line, with `--run`.
        environment: variables beside those of this process.
        folder: in which it works, if not in this process's.

    Raises:
        InputError, RunBusyError: the folder cannot be used.
        NotStartedError: settings or data were refused, with the exit code of that.
    """
    require_free(run, command)
    console, made = run / CONSOLE, not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    before = console.stat().st_size if console.exists() else None
    with console.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "shallow2deep", command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
    try:
        began = _has_begun(process, run)
    except BaseException:  # nobody will have been told of it
        process.terminate()
        raise
    if process.returncode:
        said = console.read_bytes()[before or 0 :].decode(errors="replace")
        sentences = [line for line in said.splitlines() if line.startswith(_SAYS)]
        if not sentences:
            code = process.returncode
            raise NotStartedError(f"{run}: its process ended with {code}; {console} tells more", 1)
        if before is None:
            console.unlink()
        if made:
            with suppress(OSError):
                run.rmdir()
        raise NotStartedError(sentences[-1].removeprefix(_SAYS), process.returncode)
    return Started(run, process.pid if began else None, console)


def start_again(run: Path, trust: bool = False) -> Started:
    """Starts the command of a run again, with its settings, to go on where it stopped.

    Raises:
        InputError: no run there.
        RunBusyError, NotStartedError: see `start`.
    """
    command = command_of(run)
    if command is None:
        raise InputError(f"{run}: no run here; give the folder that was given as --run")
    settings = run / "settings.yaml"
    if not trust and (file := names_python(read_yaml(settings))):
        raise InputError(
            f"{run}: its settings name {file}, whose Python would be run; use --trust if you know its author"
        )
    trusting = ["--trust"] if trust and command == "adapt" else []
    arguments = [str(settings), "--run", str(run), *trusting]
    return start(command, arguments, run)


def names_python(settings: Mapping[str, Any]) -> str | None:
    """The file of a network of one's own that settings name, if any."""
    sections = (one.get("network") for one in settings.values() if isinstance(one, Mapping))
    return next((one["file"] for one in sections if isinstance(one, Mapping) and one.get("file")), None)


def _has_begun(process: subprocess.Popen[bytes], run: Path) -> bool:
    """Waits until a process has begun with its run; False if it ended before."""
    while process.poll() is None:
        worker = worker_at(run)
        if worker is not None and worker.pid == process.pid:
            return True
        time.sleep(_POLL)
    return False
