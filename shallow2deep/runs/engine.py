"""Runs stages: skips finished ones, explains stale ones, goes on with interrupted ones.

A stage's folder holds its artifacts and, written last, `manifest.json`: the stage's key (settings, inputs,
version) and the sha256 of every artifact. `begun.json` holds the same key while the stage is at work, so that
what an interrupted run left behind is used only if it belongs to the same work, and is as it was written. The
folders in `SCRATCH` (checkpoints, learning curves, snapshots) are no artifacts, and neither is
`metadata.json`: what is said of a result without deciding it, which may be told anew without making it anew.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shallow2deep.errors import DamagedFileError, InputError, NoRoomError
from shallow2deep.io import atomic
from shallow2deep.io.atomic import atomic_path, read_json, sweep, write_json
from shallow2deep.io.known import Known
from shallow2deep.runs.changes import drop
from shallow2deep.runs.control import Control
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.events import Events
from shallow2deep.runs.job import Job

log = logging.getLogger(__name__)

RESULTS = 3  # version of the stages' results; raised when the same settings and inputs would give others
MANIFEST, BEGUN, METADATA, MINUTES = "manifest.json", "begun.json", "metadata.json", "minutes.json"
_FINGERPRINT = re.compile("[0-9a-f]{40}")
SCRATCH = ("checkpoints", "tensorboard", "unfinished", "snapshots", "best", "previews")
_NOTED = Path("unfinished", "artifacts.txt")


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: the stage's folder in the run.
        settings: JSON-able; everything that decides on the result besides the inputs.
        inputs: fingerprints of data, and `after(stage)` for every stage whose artifacts are read.
        work: fills the job's folder; may find there what an interrupted run of the same key has left.
        metadata: JSON-able; what is said of the result, such as its name and the terms of the data.
        shown: artifacts of which the run's folder itself gets a copy, for people.
        changes: JSON-able; of the settings, made by hand while the work went on. What was begun goes on with
            others: the work looks which of its checkpoints fit.
        changeable: the settings that can be changed so.
    """

    name: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    work: Callable[[Job], None]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    shown: Sequence[str] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    changeable: Sequence[str] = ()

    @property
    def begun(self) -> dict[str, Any]:
        """What the work is at its beginning, before any changes by hand, and the key of that."""
        plain = json.loads(json.dumps({"settings": self.settings, "inputs": self.inputs}))
        found = {"stage": self.name, "version": RESULTS, **plain}
        return found | {"key": _key_of(found)}

    @property
    def identity(self) -> dict[str, Any]:
        found = {name: value for name, value in self.begun.items() if name != "key"}
        if self.changes:
            found["settings"] = found["settings"] | {"changes": [dict(change) for change in self.changes]}
        return found

    @property
    def key(self) -> str:
        return _key_of(self.identity)


def _key_of(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def after(*stages: Stage) -> dict[str, str]:
    """What a stage that reads the artifacts of `stages` states among its inputs."""
    return {f"stage {stage.name}": stage.key for stage in stages}


@dataclass(frozen=True)
class State:
    """Where a stage stands: "finished", "interrupted", "stale" or "to do", and why."""

    word: str
    reason: str = ""


def state_of(run: Path, stage: Stage, known: Known | None = None) -> State:
    """Compares the stage's folder with what the stage would do now.

    Args:
        known: checksums of artifacts that keep size and time of change are taken from here.
    """
    folder = run / stage.name
    if (folder / MANIFEST).is_file():
        manifest = manifest_of(folder)
        if not manifest:
            return State("stale", f"{stage.name}/{MANIFEST} is damaged")
        if manifest["key"] != stage.key:
            return State("stale", explain(manifest, stage.identity))
        if damaged := damaged_artifact(folder, manifest, known or Known()):
            return State("stale", f"{damaged} is missing or differs from the manifest")
        return State("finished")
    if (folder / BEGUN).is_file():
        begun = _read_mapping(folder / BEGUN)
        if not begun:
            return State("stale", f"{stage.name}/{BEGUN} is damaged")
        if begun.get("key") == stage.begun["key"]:
            return State("interrupted", "goes on from where it stopped")
        return State("stale", explain(begun, stage.begun))
    return State("to do")


def _read_mapping(path: Path) -> dict[str, Any]:
    """A JSON file of ours; nothing where it is damaged."""
    try:
        values = read_json(path)
    except DamagedFileError:
        return {}
    return values if isinstance(values, dict) else {}


def manifest_of(folder: Path) -> dict[str, Any]:
    """A finished stage's `key`, `settings`, `inputs` and `outputs`; empty if there is no whole manifest."""
    values = _read_mapping(folder / MANIFEST)
    digests = [values.get(name) for name in ("inputs", "outputs")]
    whole = (
        isinstance(values.get("key"), str)
        and isinstance(values.get("settings"), dict)
        and all(isinstance(d, dict) and all(isinstance(v, str) for v in d.values()) for d in digests)
        and all(map(is_name, values["outputs"]))
    )
    return values if whole else {}


def is_name(name: str) -> bool:
    """Whether it can be that of a file in a folder, and nothing else."""
    return Path(name).name == name and name not in ("", "..") and "\0" not in name


def begun_of(folder: Path) -> dict[str, Any]:
    """What a stage at work says of itself; empty if there is none."""
    return _read_mapping(folder / BEGUN) if (folder / BEGUN).is_file() else {}


def noted_artifacts(folder: Path) -> set[str]:
    """The names of the files that a stage has made and noted, while it is not finished."""
    path = folder / _NOTED
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {line.rpartition(" ")[0] for line in lines}


def minutes_of(run: Path) -> dict[str, dict[str, float]]:
    """What the stages of a run took, `wall` and `cpu`, as far as that is known."""
    values = _read_mapping(run / MINUTES) if (run / MINUTES).is_file() else {}
    return {
        stage: took
        for stage, took in values.items()
        if isinstance(took, dict)
        and took.keys() == {"wall", "cpu"}
        and all(type(value) in (int, float) for value in took.values())
    }


def explain(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> str:
    """What differs between two identities of a stage, as `settings.steps 100 -> 200, …`."""
    found = []
    for name in sorted((old.keys() | new.keys()) - {"key", "outputs"}):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.append(explain(a, b, f"{place}{name}."))
        elif a != b:
            short = [_short(value) for value in (a, b)]
            found.append(f"{place}{name} {short[0]} -> {short[1]}")
    return ", ".join(filter(None, found))


def _short(value: object) -> object:
    """The beginning of a fingerprint; other values as they are."""
    return value[:12] if isinstance(value, str) and _FINGERPRINT.match(value) else value


def damaged_artifact(folder: Path, manifest: Mapping[str, Any], known: Known) -> str | None:
    """The first artifact that is not as the manifest says, or None."""
    outputs = manifest.get("outputs")
    if not isinstance(outputs, Mapping):
        return f"{folder.name}/{MANIFEST}"
    for name, digest in outputs.items():
        path = folder / name
        if not (path.is_file() or path.is_dir()) or known.sha256(path) != digest:
            return f"{folder.name}/{name}"
    return None


def chain_fault(run: Path, names: Sequence[str], known: Known) -> str | None:
    """What is wrong with finished stages, and with those that they were made from, or None.

    It goes by what they say of themselves and of each other; settings and data are not looked at, as they may
    be out of reach.
    """
    keys: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in keys:
            continue
        if not (run / name / MANIFEST).is_file():
            return f"its stage {name} is not finished"
        manifest = manifest_of(run / name)
        if damaged := damaged_artifact(run / name, manifest, known):
            return f"{damaged} is missing or differs from the manifest"
        keys[name] = str(manifest.get("key"))
        waiting += made_from(manifest)
    for name in keys:
        before = made_from(manifest_of(run / name))
        if changed := [other for other, key in before.items() if keys[other] != key]:
            return f"its stage {name} was made from another {changed[0]}"
    return None


def made_from(record: Mapping[str, Any]) -> dict[str, str]:
    """The stages whose artifacts went into one, by its manifest or identity, and their keys then."""
    inputs = record.get("inputs") or {}
    return {name.removeprefix("stage "): key for name, key in inputs.items() if name.startswith("stage ")}


def stale_stage(run: Path, stages: Sequence[Stage], names: Sequence[str], known: Known) -> str | None:
    """Which of some stages, and of those that they are made from, would have to run, and why, or None."""
    needed = set(names)
    for stage in reversed(stages):  # those that a stage is made from stand before it
        if stage.name in needed:
            needed |= made_from(stage.identity).keys()
    for stage in stages:
        if stage.name in needed:
            state = state_of(run, stage, known)
            if state.word != "finished":
                return f"its stage {stage.name} is {state.word}" + (
                    f" ({state.reason})" if state.reason else ""
                )
    return None


def run_stages(
    run: Path,
    stages: Sequence[Stage],
    control: Control,
    events: Events,
    known: Known,
    beside: Sequence[Path] = (),
) -> None:
    """Brings every stage to its end, in order.

    Args:
        beside: other runs: what is finished there and is the same is taken over.

    Raises:
        Interrupted: a stop was asked for; the same call goes on from there.
        Aborted: it was asked to give up.
    """
    for stage in stages:
        control.check()
        shutil.rmtree(_aside(run / stage.name), ignore_errors=True)
        state = state_of(run, stage, known)
        if state.word == "to do" and (other := _same(stage, beside, known)):
            _take_over(other, run / stage.name)
            log.info("%s: as in %s", stage.name, other.parent)
            state = State("finished")
        if state.word == "finished":
            if (run / stage.name / BEGUN).exists():  # killed before all was tidy
                _tidy(run / stage.name)
            log.info("%s: finished before", stage.name)
        else:
            log.info("%s: %s%s", stage.name, state.word, f" ({state.reason})" if state.reason else "")
            job = Job(run / stage.name, control, events)
            events.emit(stage.name, "begun")
            _run_stage(job, stage, state.word != "interrupted", known)
            drop(run, stage.name)  # asked for too late
            events.emit(stage.name, "done")
        _tell_metadata(run / stage.name, stage.metadata)
        _show(run, stage, known)


def _run_stage(job: Job, stage: Stage, fresh: bool, known: Known) -> None:
    folder = job.folder
    if fresh and folder.exists():
        aside = _aside(folder)  # never half removed under its own name
        folder.replace(aside)
        shutil.rmtree(aside)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder, alone=True)
    write_json(folder / BEGUN, stage.begun)
    with _noting_minutes(job, fresh), _noting_artifacts(folder):
        stage.work(job)
    if changed := known.changed():
        shutil.rmtree(folder)  # what it holds may be of either content
        raise InputError(
            f"{changed} has changed while the stage {stage.name} read it, so its results were removed; run "
            "the same command again"
        )
    _tell_metadata(folder, stage.metadata)
    sweep(folder, alone=True)
    own = {BEGUN, MANIFEST, METADATA, *SCRATCH}
    outputs = {path.name: known.sha256(path) for path in sorted(folder.iterdir()) if path.name not in own}
    identity = stage.identity | {"key": stage.key}
    write_json(folder / MANIFEST, identity | {"outputs": outputs})
    _tidy(folder)
    log.info("%s: done", stage.name)


def _same(stage: Stage, beside: Sequence[Path], known: Known) -> Path | None:
    """The folder of a finished stage with the same key in another run."""
    folders = (run / stage.name for run in beside)
    return next((folder for folder in folders if _is_same(stage, folder, known)), None)


def _is_same(stage: Stage, folder: Path, known: Known) -> bool:
    manifest = manifest_of(folder) if (folder / MANIFEST).is_file() else {}
    return manifest.get("key") == stage.key and not damaged_artifact(folder, manifest, known)


def _take_over(other: Path, folder: Path) -> None:
    """The same files, by hard links where the disk has them: finished ones are replaced, never changed."""
    aside = _aside(folder)
    shutil.copytree(other, aside, copy_function=_link_or_copy)
    aside.replace(folder)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.stale")


def _tidy(folder: Path) -> None:
    """Removes what a finished stage needs no more; what is begun counts as tidy when `begun.json` is gone."""
    for name in ("checkpoints", "unfinished"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / BEGUN).unlink()


@contextmanager
def _noting_artifacts(folder: Path) -> Iterator[None]:
    """Notes checksums of files as they are made, and removes those that have changed in an interruption."""
    done = DoneLog(folder / _NOTED, lambda name: atomic.sha256(folder / name))
    for name in done.damaged:
        if is_name(name):
            (folder / name).unlink(missing_ok=True)

    def note(path: Path) -> None:
        if path.parent == folder and path.is_file():
            done.add(path.name)

    atomic.on_written.append(note)
    try:
        yield
    finally:
        atomic.on_written.remove(note)


def _tell_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Writes what is said of a result where it is not said yet."""
    path = folder / METADATA
    if metadata and (not path.is_file() or _read_mapping(path) != json.loads(json.dumps(metadata))):
        write_json(path, metadata)


def _show(run: Path, stage: Stage, known: Known) -> None:
    for name in stage.shown:
        copy, artifact = run / name, run / stage.name / name
        if not copy.is_file() or known.sha256(copy) != known.sha256(artifact):
            with atomic_path(copy) as temporary:
                shutil.copyfile(artifact, temporary)


@contextmanager
def _noting_minutes(job: Job, fresh: bool) -> Iterator[None]:
    """Adds what a stage takes to the run's minutes.json, for reports; also of a call that is interrupted."""
    stage, held = job.folder.name, job.control.held_s
    known = minutes_of(job.run)
    before = {} if fresh else known.get(stage, {})
    wall, cpu = time.monotonic(), sum(os.times()[:4])
    try:
        yield
    finally:
        paused = job.control.held_s - held
        took = {"wall": (time.monotonic() - wall - paused) / 60, "cpu": (sum(os.times()[:4]) - cpu) / 60}
        total = {name: round(before.get(name, 0) + value, 3) for name, value in took.items()}
        with suppress(NoRoomError):  # the stage's own results matter more
            write_json(job.run / MINUTES, known | {stage: total})
        log.info("%s: %.1f min (%.1f min of CPU)", stage, took["wall"], took["cpu"])
