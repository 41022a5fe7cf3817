"""Jobs: runs in a queue on disk, each begun in a process of its own when there is room for it.

`JOBS/ID/job.json` says what is wanted of a job, `settings.yaml` beside it is what it was sent with, and
`run/` its run. So a server that was killed and is started again goes on with what is there: processes that
live are left alone, and those that died meanwhile are started again.
"""

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from shallow2deep.errors import (
    DamagedFileError,
    InputError,
    MissingDataError,
    RunBusyError,
    Shallow2DeepError,
    one_line,
)
from shallow2deep.io.atomic import one_writer, read_json, write_json, write_text
from shallow2deep.runs import changing, cleaning, control, detached, steering
from shallow2deep.runs.events import FILE as EVENTS
from shallow2deep.runs.events import Event, read_events
from shallow2deep.runs.folder import CONSOLE, command_of
from shallow2deep.runs.standing import Standing, standing
from shallow2deep.runs.worker import worker_at
from shallow2deep.service.places import INCOMING, JOBS, MODELS, Places
from shallow2deep.service.slots import Slot, gpu_of
from shallow2deep.settings import Change, Settings, model_of, validated

log = logging.getLogger(__name__)

Word = Literal["queued", "starting", "running", "paused", "finished", "aborted", "failed"]
_ID = re.compile("[0-9a-f]{16}")
_MAX_STARTS = 5  # by themselves; one that ends its computer each time is not tried for ever
_TICK = 0.5  # seconds between two looks
_POLL = 0.2
_MAX_TOLD = 2000  # letters of what a dead process said last


class Job(Settings):
    """What was asked for.

    Attributes:
        created: seconds since 1970.
        wanted: whether it is to run, to wait, or nothing more.
        slot: the number of the place that it works in, or worked in last.
        starts: how often it was started without having been asked for.
        why: why nothing more is wanted of it, if it failed.
        folder: with all that is kept of it.
    """

    id: str
    name: str
    command: str
    created: float
    wanted: Literal["run", "pause", "end"] = "run"
    slot: int = 0
    starts: int = 0
    why: str = ""
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def settings(self) -> Path:
        """As it was sent; names of data are absolute."""
        return self.folder / "settings.yaml"


@dataclass(frozen=True)
class JobStanding:
    """What a job does, or how it has ended.

    Attributes:
        why: why it has ended, if it is not finished.
        run: where its run stands; None if that has not begun.
    """

    word: Word
    why: str = ""
    run: Standing | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless somebody asks for it."""
        return self.word in ("finished", "aborted", "failed")


class Jobs:
    """All jobs below a data root.

    Args:
        slots: places for jobs that work at the same time.
    """

    def __init__(self, places: Places, slots: Sequence[Slot] = ({},)):
        self.places, self.slots = places, slots
        self.gpus_of_others: Callable[[], Collection[str]] = tuple  # whose places stay free
        self.folder = places.root / JOBS
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._starting: dict[str, threading.Thread] = {}
        self._seen: set[str] = set()  # those whose processes this server has seen alive
        defaults = self.folder / "defaults.yaml"
        if not defaults.exists():
            write_text(defaults, "# jobs have the settings that they were sent with, and no others\n")
        self._environment = {"S2D_CONFIG": str(defaults), "S2D_MODELS": str(places.root / MODELS)}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Starts what is queued, meanwhile; jobs at work go on afterwards.

        Raises:
            RunBusyError: another server does so.
        """
        with one_writer(self.places.root, "server"):
            cleaning.remove([*(self.places.root / INCOMING).iterdir()])  # of a server that was killed
            ticking = threading.Thread(target=self._serve, daemon=True)
            ticking.start()
            try:
                yield
            finally:
                self._ended.set()
                ticking.join()

    def _serve(self) -> None:
        while not self._ended.wait(_TICK):
            try:
                self.tick()
            except (OSError, Shallow2DeepError) as error:  # such as a full disk: it is tried again
                log.warning("jobs: %s", error)

    def submit(
        self, command: str, settings: Mapping[str, Any], name: str = "", origin: str = "the settings"
    ) -> Job:
        """Puts a run into the queue.

        Args:
            command: "adapt" or "enhancer-train".
            settings: as in a file of settings; relative names of data are relative to the data root.
            name: for people.
            origin: what errors call the settings.

        Raises:
            SettingsError: settings that the command would refuse, in the same words.
            InputError: data that are not there, or not in the server's folders.
        """
        config = validated(model_of(command), settings, origin)
        values = self.places.anchored(config.model_dump(mode="json", exclude_unset=True))
        id_ = secrets.token_hex(8)
        job = Job(
            id=id_,
            name=one_line(name) or command,
            command=command,
            created=time.time(),
            folder=self.folder / id_,
        )
        write_text(job.settings, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        self._write(job)
        return job

    def get(self, id_: str) -> Job:
        """Raises MissingDataError where there is no such job."""
        folder = self.folder / id_
        if _ID.fullmatch(id_):
            with suppress(DamagedFileError, ValidationError, TypeError):
                return Job(**read_json(folder / "job.json"), folder=folder)
        raise MissingDataError(f"{one_line(id_)}: there is no such job; list them to see which there are")

    def all(self) -> list[Job]:
        """The oldest first."""
        found = []
        for path in self.folder.iterdir():
            with suppress(MissingDataError):
                found.append(self.get(path.name))
        return sorted(found, key=lambda job: (job.created, job.id))

    def standing(self, id_: str) -> JobStanding:
        """Where a job stands now."""
        job = self.get(id_)
        run = _standing_of(job)
        if run and run.worker:
            return JobStanding("paused" if run.word == "paused" else "running", run=run)
        if id_ in self._starting:
            return JobStanding("starting", run=run)
        if run and run.word in ("finished", "aborted"):
            return JobStanding("aborted" if run.word == "aborted" else "finished", run.why, run)
        words: dict[str, Word] = {
            "run": "queued",
            "pause": "paused",
            "end": "failed" if job.why else "aborted",
        }
        return JobStanding(words[job.wanted], job.why, run)

    def pause(self, id_: str, wait_s: float = 30) -> JobStanding:
        """Lets a job save a checkpoint and wait, or stay in the queue.

        Raises:
            InputError: it has ended; RunBusyError: it is being given up.
        """
        with self._lock:
            job, now = self.get(id_), self.standing(id_)
            if now.ended:
                raise InputError(
                    f"{job.name}: it is {now.word}, so there is nothing to pause; resume lets it go on"
                )
            self._write(job, wanted="pause")
        if now.run and now.run.worker:
            steering.pause(job.run, wait_s)
        return self.standing(id_)

    def resume(self, id_: str, wait_s: float = 30) -> JobStanding:
        """Lets a job go on where it waits, or puts it into the queue again; a finished one stays so.

        Raises:
            RunBusyError: it is being given up.
        """
        with self._lock:
            job, now = self.get(id_), self.standing(id_)
            if now.word == "finished":
                return now
            if now.run and now.run.worker:
                steering.resume(job.run, wait_s=0)
            else:
                self._seen.discard(id_)
                if now.run:
                    control.withdraw(job.run)
            self._write(job, wanted="run", starts=0, why="")
        if now.run and now.run.worker:
            steering.wait_until(job.run, lambda found: found.word != "paused", wait_s)
        return self.standing(id_)

    def abort(self, id_: str, discard: bool = False, wait_s: float = 60) -> JobStanding:
        """Lets a job end; resume goes on from its last checkpoint.

        Args:
            discard: also remove what its stages have made that are not finished.

        Raises:
            RunBusyError: it has not ended in time, so that nothing was discarded.
        """
        with self._lock:
            job, now = self.get(id_), self.standing(id_)
            if now.word != "finished":
                self._write(job, wanted="end", why="")
        if now.run:
            steering.abort(job.run, discard, wait_s)
        return self.standing(id_)

    def change(self, id_: str, assignments: Sequence[str], wait_s: float = 30) -> Change | None:
        """Other settings of a training from its next safe point on; see `runs.changing.change`."""
        return changing.change(self._begun(id_), assignments, wait_s)

    def clean(self, id_: str) -> list[Path]:
        """Removes an ended or waiting job with all that its run has made.

        Returns:
            What else is in its folder, and stays.

        Raises:
            RunBusyError: it is at work.
        """
        with self._lock:
            job, now = self.get(id_), self.standing(id_)
            if now.word == "starting" or (now.run and now.run.worker):
                raise RunBusyError(f"{job.name}: it is at work; abort it first")
            others = cleaning.clean(job.run).others if now.run else []
            (job.run / CONSOLE).unlink(missing_ok=True)  # of one that was refused
            for path in (job.settings, job.folder / "job.json"):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                job.run.rmdir()
            with suppress(OSError):
                job.folder.rmdir()
            return others

    def events(self, id_: str, since: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        """What has happened in a job's run after a position, each with the position behind it."""
        return list(islice(read_events(self.get(id_).run / EVENTS, since), limit))

    def follow(self, id_: str, since: int = 0) -> Iterator[tuple[int, Event]]:
        """The same, and then what happens, until the job has ended: none is left out, none comes twice."""
        while True:
            ended = self.standing(id_).ended  # asked first, so that the last events are not missed
            found = self.events(id_, since)
            yield from found
            since = found[-1][0] if found else since
            if ended and not found:
                return
            if not found:
                time.sleep(_POLL)

    def tick(self) -> None:
        """Notes which jobs have ended, and starts queued ones while there is room."""
        with self._lock:
            jobs = [self._settled(job) for job in self.all()]
            at_work = [job for job in jobs if self._at_work(job)]
            others, used = self.gpus_of_others(), {job.slot for job in at_work}
            free = [n for n, slot in enumerate(self.slots) if n not in used and gpu_of(slot) not in others]
            room = len(self.slots) - len(at_work)
            queued = [job for job in jobs if job.wanted == "run" and not self._at_work(job)]
            for job, slot in list(zip(queued, free, strict=False))[: max(0, room)]:
                job = self._write(job, slot=slot, starts=job.starts + 1)
                self._starting[job.id] = threading.Thread(target=self._start, args=[job], daemon=True)
                self._starting[job.id].start()

    def gpus_at_work(self) -> set[str]:
        """Those that jobs train on now."""
        gpus = {gpu_of(self.slots[job.slot % len(self.slots)]) for job in self.all() if self._at_work(job)}
        return {gpu for gpu in gpus if gpu}

    def _at_work(self, job: Job) -> bool:
        return job.id in self._starting or worker_at(job.run) is not None

    def _settled(self, job: Job) -> Job:
        """The job, with nothing more wanted of it if its process has ended for good."""
        if self._at_work(job):
            self._sight(job)
            return job
        if job.wanted != "run":
            return job
        found = _standing_of(job)
        if found and found.word in ("finished", "aborted"):
            return self._write(job, wanted="end")
        if found and found.word == "paused":  # by another program, before its process died
            return self._write(job, wanted="pause")
        if job.id in self._seen or job.starts >= _MAX_STARTS:
            return self._write(job, wanted="end", why=(found and found.why) or _last_words(job))
        return job

    def _sight(self, job: Job) -> None:
        """Notes that a job's process is there, and asks of it what was asked while it began."""
        if job.id not in self._seen and worker_at(job.run):
            self._seen.add(job.id)
            if job.wanted != "run":
                control.request(job.run, "pause" if job.wanted == "pause" else "abort")

    def _start(self, job: Job) -> None:
        """Starts a job's process, and waits until it begins or is refused."""
        arguments = [str(job.settings), "--run", str(job.run)]
        environment = {**self._environment, **self.slots[job.slot]}
        try:
            detached.start(job.command, arguments, job.run, environment, job.folder)
        except (OSError, Shallow2DeepError) as error:
            if (
                getattr(error, "exit_code", 1) != RunBusyError.exit_code
            ):  # else a killed server has started it
                self._write(self.get(job.id), wanted="end", why=str(error))
        finally:
            with self._lock:
                self._sight(self.get(job.id))
                self._seen.add(job.id)
                self._starting.pop(job.id)

    def _begun(self, id_: str) -> Path:
        job = self.get(id_)
        if command_of(job.run) is None:
            raise InputError(f"{job.name}: it has not begun yet; wait for that")
        return job.run

    def _write(self, job: Job, **changes: Any) -> Job:
        with self._lock:
            changed = job.model_copy(update=changes)
            write_json(job.folder / "job.json", changed.model_dump(mode="json", exclude={"folder"}))
            return changed


def _standing_of(job: Job) -> Standing | None:
    """Where a job's run stands; None if it has not begun."""
    with suppress(InputError):
        return standing(job.run)
    return None


def _last_words(job: Job) -> str:
    """What a process said before it ended without a reason of ours."""
    console = job.run / CONSOLE
    said = console.read_bytes()[-_MAX_TOLD:].decode(errors="replace") if console.exists() else ""
    lines = [line for line in said.splitlines() if line.strip()]
    return f"its process has ended: {one_line(lines[-1])}" if lines else "its process has ended"
