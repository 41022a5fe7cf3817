"""Training sessions: each a folder with settings and a run, so that they outlive the server.

`sessions/ID/session.json` names the command and the device, `settings.yaml` beside it holds what the session
was made with, and `run/` is its run: a process of its own, which `s2d watch` shows like any other.
"""

import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from shallow2deep.errors import InputError, RunBusyError, Shallow2DeepError
from shallow2deep.io.atomic import read_json, write_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.runs import control, detached, steering
from shallow2deep.runs.folder import command_of
from shallow2deep.runs.standing import standing
from shallow2deep.runs.worker import worker_at
from shallow2deep.service.places import Places
from shallow2deep.service.tiktorch.answers import UnknownSessionError
from shallow2deep.service.tiktorch.leases import Leases
from shallow2deep.service.tiktorch.session_settings import Asked, asked_for
from shallow2deep.service.tiktorch.trained import Trained, trained_of
from shallow2deep.settings.levels import NAMES_USERS_FILE

SESSIONS = "sessions"
_ID = re.compile("[0-9a-f]{32}")
_NOTHING = "defaults.yaml"  # in place of settings of the server's user
_WAIT = 120.0  # seconds for a training to come to a safe point


class TrainerState(Enum):
    """As in tiktorch."""

    IDLE = 0
    RUNNING = 1
    PAUSED = 2
    FAILED = 3
    FINISHED = 4


class Session:
    """A training, from its settings to its results.

    Args:
        folder: see above.
    """

    def __init__(self, folder: Path):
        self.folder, self.run = folder, folder / "run"
        self.lock = threading.RLock()
        self.command, self.device = (
            str(read_json(folder / "session.json")[n]) for n in ("command", "device")
        )

    @cached_property
    def trained(self) -> Trained:
        """What its training makes; data are opened and checked.

        Raises:
            InputError: settings or data that cannot be used.
        """
        return trained_of(
            self.command, self.folder / "settings.yaml", self.run, Known(self.folder / "known.json")
        )

    @property
    def is_at_work(self) -> bool:
        return worker_at(self.run) is not None

    def state(self) -> TrainerState:
        """Told from the run's folder alone."""
        if not self.is_at_work and command_of(self.run) is None:
            return TrainerState.IDLE
        return {
            "running": TrainerState.RUNNING,
            "paused": TrainerState.PAUSED,
            "finished": TrainerState.FINISHED,
        }.get(standing(self.run).word, TrainerState.FAILED)

    def start(self) -> None:
        """Returns when the training's process has looked at settings and data, and begins."""
        with self._leading_to(TrainerState.RUNNING, TrainerState.IDLE):
            arguments = [str(self.folder / "settings.yaml"), "--run", str(self.run)]
            detached.start(
                self.command,
                arguments,
                self.run,
                {NAMES_USERS_FILE: str(self.folder / _NOTHING)},
                self.folder,
            )

    def pause(self) -> None:
        """Returns when a checkpoint is written and the training waits."""
        with self._leading_to(TrainerState.PAUSED, TrainerState.RUNNING):
            if steering.pause(self.run, _WAIT).word == "running":
                raise RunBusyError(
                    "the training has come to no safe point yet; it will pause at the next one"
                )

    def resume(self) -> None:
        with self._leading_to(TrainerState.RUNNING, TrainerState.PAUSED):
            steering.resume(self.run)

    @contextmanager
    def _leading_to(self, wanted: TrainerState, *valid: TrainerState) -> Iterator[None]:
        with self.lock:
            if (now := self.state()) not in valid:
                raise Shallow2DeepError(
                    f"Invalid state transition: {now} -> {wanted}. Valids are {set(valid)}"
                )
            yield

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Its training is paused meanwhile, if it is running, and goes on afterwards."""
        with self.lock:
            if self.state() is not TrainerState.RUNNING:
                yield
                return
            try:
                if steering.pause(self.run, _WAIT).word == "running":
                    raise RunBusyError("the training has come to no safe point yet; try again")
                yield
            finally:
                control.withdraw(self.run, "pause")
                steering.wait_until(self.run, lambda now: now.word != "paused", _WAIT)

    def close(self) -> None:
        """Gives the training up, if it goes on; what it has made stays."""
        with self.lock:
            if self.is_at_work and steering.abort(self.run, wait_s=_WAIT).worker is not None:
                raise RunBusyError("the training has come to no safe point yet; it will end at the next one")
            (self.folder / "session.json").unlink()
            if not self.run.exists():
                shutil.rmtree(self.folder)


class Sessions:
    """All sessions below a data root."""

    def __init__(self, places: Places, leases: Leases):
        self._places, self._leases = places, leases
        self._folder = places.root / SESSIONS
        self._folder.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        for path in self._folder.iterdir():  # those whose processes have outlived another server
            if _is_session(path) and (session := Session(path)).is_at_work:
                self._open[path.name] = session
                leases.lease([session.device], path.name)

    def new(self, text: str) -> str:
        """A session for settings in YAML; nothing is left of it if they are refused.

        Raises:
            InputError: settings or data that cannot be used, or a device that is not there.
            RunBusyError: a device that another session uses.
        """
        id_ = secrets.token_hex(16)
        asked = asked_for(text, self._places)
        (device,) = self._leases.lease([asked.device], id_)
        folder = self._folder / id_
        try:
            _write(folder, asked, device)
            session = Session(folder)
            _ = session.trained
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            self._leases.free(id_)
            raise
        with self._lock:
            self._open[id_] = session
        return id_

    def get(self, id_: str) -> Session:
        """Raises UnknownSessionError."""
        with self._lock:
            folder = self._folder / id_
            if not _ID.fullmatch(id_) or not _is_session(folder):
                raise UnknownSessionError(id_)
            if id_ not in self._open:
                self._open[id_] = Session(folder)
            return self._open[id_]

    def close(self, id_: str) -> None:
        """Ends a session and frees its device."""
        try:
            session = self.get(id_)
        except UnknownSessionError:
            raise InputError("Unknown session") from None
        session.close()
        with self._lock:
            self._open.pop(id_, None)
        self._leases.free(id_)


def _is_session(folder: Path) -> bool:
    return (folder / "session.json").is_file()


def _write(folder: Path, asked: Asked, device: str) -> None:
    folder.mkdir()
    text = yaml.safe_dump(asked.settings, sort_keys=False, allow_unicode=True)
    write_text(folder / "settings.yaml", text)
    write_text(folder / _NOTHING, "# sessions have the settings that they were made with\n")
    said: dict[str, Any] = {"command": asked.command, "device": device}
    write_json(folder / "session.json", said)
