"""Runs stages: skips finished ones, explains stale ones, goes on with interrupted ones.

A stage's folder holds its artifacts and, written last, `manifest.json`: the stage's key (settings, inputs,
version) and the sha256 of every artifact. `begun.json` holds the same key while the stage is at work, so that
what an interrupted run left behind is used only if it belongs to the same work. The folders in `SCRATCH`
(checkpoints, learning curves) are no artifacts.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from shallow2deep.errors import Interrupted
from shallow2deep.io.atomic import read_json, sha256, write_json

log = logging.getLogger(__name__)

VERSION = 2  # of the stages' results; raised when the same settings and inputs would give others
MINUTES = "minutes.json"
SCRATCH = ("checkpoints", "tensorboard", "unfinished")


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: the stage's folder in the run.
        settings: JSON-able; everything that decides on the result besides the inputs.
        inputs: fingerprints of data, and `after(stage)` for every stage whose artifacts are read.
        work: fills the folder it gets; may find there what an interrupted run of the same key has left.
    """

    name: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    work: Callable[[Path], None]

    @property
    def identity(self) -> dict[str, Any]:
        plain = json.loads(json.dumps({"settings": self.settings, "inputs": self.inputs}))
        return {"stage": self.name, "version": VERSION, **plain}

    @property
    def key(self) -> str:
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def after(*stages: Stage) -> dict[str, str]:
    """What a stage that reads the artifacts of `stages` states among its inputs."""
    return {f"stage {stage.name}": stage.key for stage in stages}


@dataclass(frozen=True)
class State:
    """Where a stage stands: "finished", "interrupted", "stale" or "to do", and why."""

    word: str
    reason: str = ""


def state_of(run: Path, stage: Stage) -> State:
    """Compares the stage's folder with what the stage would do now."""
    folder = run / stage.name
    if (folder / "manifest.json").is_file():
        manifest = _read_mapping(folder / "manifest.json")
        if manifest.get("key") != stage.key:
            return State("stale", explain(manifest, stage.identity))
        if damaged := damaged_artifact(folder, manifest):
            return State("stale", f"{damaged} is missing or differs from the manifest")
        return State("finished")
    if (folder / "begun.json").is_file():
        begun = _read_mapping(folder / "begun.json")
        if begun.get("key") == stage.key:
            return State("interrupted", "goes on from where it stopped")
        return State("stale", explain(begun, stage.identity))
    return State("to do")


def _read_mapping(path: Path) -> dict[str, Any]:
    values = read_json(path)
    return values if isinstance(values, dict) else {}


def explain(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> str:
    """What differs between two identities of a stage, as `settings.steps 100 -> 200, …`."""
    found = []
    for name in sorted((old.keys() | new.keys()) - {"key", "outputs"}):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.append(explain(a, b, f"{place}{name}."))
        elif a != b:
            short = [
                str(v)[:12]
                if name.startswith(("stage ", "training ", "validation ", "raw ", "strokes "))
                else v
                for v in (a, b)
            ]
            found.append(f"{place}{name} {short[0]} -> {short[1]}")
    return ", ".join(filter(None, found))


def damaged_artifact(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """The first artifact that is not as the manifest says, or None."""
    for name, digest in manifest.get("outputs", {"manifest.json": None}).items():
        path = folder / name
        if not path.exists() or sha256(path) != digest:
            return f"{folder.name}/{name}"
    return None


def run_stages(run: Path, stages: Sequence[Stage]) -> None:
    """Brings every stage to its end, in order.

    Raises:
        Interrupted: a signal came; the same call goes on from there.
    """
    for stage in stages:
        check_stop()
        state = state_of(run, stage)
        if state.word == "finished":
            log.info("%s: finished before", stage.name)
            continue
        log.info("%s: %s%s", stage.name, state.word, f" ({state.reason})" if state.reason else "")
        _run_stage(run / stage.name, stage, fresh=state.word != "interrupted")


def _run_stage(folder: Path, stage: Stage, fresh: bool) -> None:
    if fresh and folder.exists():
        aside = folder.with_name(f".{folder.name}.old")  # never half removed under its own name
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
        shutil.rmtree(aside)
    folder.mkdir(parents=True, exist_ok=True)
    identity = stage.identity | {"key": stage.key}
    write_json(folder / "begun.json", identity)
    with _noting_minutes(folder, stage.name, fresh):
        stage.work(folder)
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    own = {"begun.json", "manifest.json", *SCRATCH}
    outputs = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name not in own}
    write_json(folder / "manifest.json", identity | {"outputs": outputs})
    (folder / "begun.json").unlink()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    log.info("%s: done", stage.name)


@contextmanager
def _noting_minutes(folder: Path, stage: str, fresh: bool) -> Iterator[None]:
    """Adds what a stage takes to the run's minutes.json, for reports; also of a call that is interrupted."""
    path = folder.parent / MINUTES
    known = _read_mapping(path) if path.is_file() else {}
    before = {} if fresh else known.get(stage, {})
    wall, cpu = time.monotonic(), sum(os.times()[:4])
    try:
        yield
    finally:
        took = {"wall": (time.monotonic() - wall) / 60, "cpu": (sum(os.times()[:4]) - cpu) / 60}
        total = {name: round(before.get(name, 0) + value, 3) for name, value in took.items()}
        write_json(path, known | {stage: total})
        log.info("%s: %.1f min (%.1f min of CPU)", stage, took["wall"], took["cpu"])


_signal_received = 0


@contextmanager
def catching_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into a request that `stop_requested` and `check_stop` see.

    A second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _signal_received
    _signal_received = 0
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.getsignal(name) for name in names}

    def note(number: int, frame: FrameType | None) -> None:
        global _signal_received
        _signal_received = number
        log.warning("%s: stopping at the next safe point …", signal.Signals(number).name)
        for name in names:
            signal.signal(name, before[name])

    for name in names:
        signal.signal(name, note)
    try:
        yield
    finally:
        for name in names:
            signal.signal(name, before[name])


def stop_requested() -> bool:
    return _signal_received != 0


def check_stop() -> None:
    """Ends the work here if a signal came.

    Raises:
        Interrupted: a signal came.
    """
    if _signal_received:
        name = signal.Signals(_signal_received).name
        raise Interrupted(f"stopped by {name}; run the same command again to go on", _signal_received)
