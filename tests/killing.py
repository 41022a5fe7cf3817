"""Runs a command again and again, each time killed at another write or a random time, until it is through.

    python killing.py DATA RUN ENHANCER named|random COUNT

RUN is of enhancer-train if ENHANCER is `-`, else of adapt with that enhancer. It tells, as JSON, where it was
killed.
"""

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import Data

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.runs.done import DoneLog

_VARYING = re.compile(r"-[0-9a-f]{8}-\d+-\d+|[0-9a-f]{32}|\d+")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def name_of(path: Path, run: Path) -> str:
    """A path in the run without what differs between writes of one kind."""
    return _VARYING.sub("#", str(path.relative_to(run) if path.is_relative_to(run) else path.name))


def kill_at_the_next_new_write(run: Path, seen: set[str], told: int) -> None:
    """Lets this process die at a write that is not among those that were seen, and tell of it first."""

    def point(name: str, last: Callable[[], None] = lambda: None) -> None:
        if name not in seen:
            last()
            os.write(told, name.encode())
            die()

    replace, unlink, rmtree, add = Path.replace, Path.unlink, shutil.rmtree, DoneLog.add

    def halved(path: Path) -> Callable[[], None]:
        return lambda: os.truncate(path, path.stat().st_size // 2) if path.is_file() else None

    def replaced(path: Path, target: Path) -> Any:
        name = name_of(Path(target), run)
        point(f"half of {name}", halved(path))
        point(f"before {name}")
        result = replace(path, target)
        point(f"after {name}")
        return result

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        if not missing_ok and path.exists():
            point(f"before removing {name_of(path, run)}")
        unlink(path, missing_ok)

    def removed(path: Any, *arguments: Any, **options: Any) -> None:
        if Path(path).exists():
            point(f"before removing {name_of(Path(path), run)}")
        rmtree(path, *arguments, **options)

    def added(log: DoneLog, piece: str) -> None:
        point(f"before noting {name_of(log._path, run)}")
        add(log, piece)
        point(f"half of noting {name_of(log._path, run)}", lambda: shorten(log._path))
        point(f"after noting {name_of(log._path, run)}")

    def shorten(path: Path) -> None:
        os.truncate(path, path.stat().st_size - 5)

    Path.replace, Path.unlink, shutil.rmtree = replaced, unlinked, removed  # type: ignore[method-assign, assignment]
    DoneLog.add = added  # type: ignore[method-assign]


def attempt(
    command: Callable[[], None], before: Callable[[int], None], after_s: float | None
) -> tuple[bool, str]:
    """Whether a forked process went through, and what it told before it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        before(writer)
        try:
            command()
            os._exit(0)
        except BaseException as error:
            os.write(writer, repr(error).encode()[:4000])
            os._exit(1)
    os.close(writer)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"it failed: {told}")
    return status == 0, told


def main(data: Data, run: Path, enhancer: str, mode: str, count: int) -> list[str]:
    def command() -> None:
        if enhancer == "-":
            enhancer_train(data.source(source_net={**data.source_values()["enhancer"]}), run)
        else:
            adapt(data.with_segmentor(Path(enhancer), compared=True), run)

    kills: list[str] = []
    if mode == "named":
        through = False
        while not through:
            seen = set(kills)
            through, told = attempt(command, lambda pipe: kill_at_the_next_new_write(run, seen, pipe), None)  # noqa: B023
            kills += [] if through else [told]
        return kills
    rng = random.Random(count)
    started = time.monotonic()
    attempt(command, lambda pipe: None, None)
    took = time.monotonic() - started
    while len(kills) < count:
        shutil.rmtree(run)
        through = False
        while not through and len(kills) < count:
            after_s = rng.uniform(0, took)
            through, _ = attempt(command, lambda pipe: None, after_s)
            kills += [] if through else [f"after {after_s:.2f} s"]
    attempt(command, lambda pipe: None, None)
    return kills


if __name__ == "__main__":
    folder, run, enhancer, mode, count = sys.argv[1:]
    json.dump(main(Data(Path(folder)), Path(run), enhancer, mode, int(count)), sys.stdout, indent=0)
