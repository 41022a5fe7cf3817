"""Lets a run pause, go on, or give up, from any process that sees its folder."""

import time
from collections.abc import Callable
from pathlib import Path

from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.io.atomic import one_writer
from shallow2deep.runs import control
from shallow2deep.runs.cleaning import discard as discard_unfinished
from shallow2deep.runs.detached import Started, start_again
from shallow2deep.runs.standing import Standing, standing

_POLL = 0.1  # seconds


def pause(run: Path, wait_s: float = 30) -> Standing:
    """Asks a run to save a checkpoint at its next safe point and to wait there, and says where it stands.

    What is paused stays so when its process is killed and the command is started again.

    Args:
        wait_s: how long to wait for it.

    Raises:
        InputError: no run there, or it is not at work.
        RunBusyError: it is being given up.
    """
    found = standing(run)
    if found.word == "paused":
        return found
    if found.worker is None:
        raise InputError(f"{run}: it is {found}, so there is nothing to pause; `s2d resume` lets it go on")
    control.request(run, "pause")
    return wait_until(run, lambda now: now.word != "running", wait_s)


def resume(run: Path, trust: bool = False, wait_s: float = 30) -> Standing | Started:
    """Lets a run go on: where it waits, or if nobody works on it in a new process. A finished one stays so.

    Args:
        trust: whether Python code in the enhancer's package may be run, if it needs that.

    Raises:
        InputError: no run there.
        RunBusyError: it is being given up.
        NotStartedError: its settings or data are refused now.
    """
    found = standing(run)
    if found.asked == "abort" and found.worker:
        raise RunBusyError(f"{run}: it is being given up; resume it when that is done")
    if found.word == "finished":
        return found
    control.withdraw(run, "pause")
    if found.worker is None:
        return start_again(run, trust)
    return wait_until(run, lambda now: now.word != "paused", wait_s)


def abort(run: Path, discard: bool = False, wait_s: float = 60) -> Standing:
    """Asks a run to end at its next safe point. What it has finished stays, and so does its last checkpoint.

    Args:
        discard: also remove the checkpoint, and all else of stages that are not finished.
        wait_s: how long to wait for it.

    Raises:
        InputError: no run there.
        RunBusyError: it has not ended in time, so that nothing was discarded.
    """
    found = standing(run)
    if found.word == "finished":
        return found
    control.request(run, "abort")
    found = wait_until(run, lambda now: now.worker is None, wait_s)
    if discard:
        if found.worker is not None:
            raise RunBusyError(
                f"{run}: it has not ended yet; give the same command again to discard its work"
            )
        with one_writer(run):
            discard_unfinished(run)
    return found


def wait_until(run: Path, reached: Callable[[Standing], bool], wait_s: float) -> Standing:
    """Where a run stands when something is reached, or the time is over."""
    end = time.monotonic() + wait_s
    while not reached(found := standing(run)) and time.monotonic() < end:
        time.sleep(_POLL)
    return found
