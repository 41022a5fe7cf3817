"""Who follows a long piece of work: is told how far it is, and may ask it to pause or stop."""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_FEW = 16  # blocks that are done while one looks


class Watch(Protocol):
    """Followed by library functions that take long; a run's job is one, and so is `Bar`."""

    def progress(self, what: str, done: int, total: int, **values: float) -> None:
        """`done` of `total` pieces of `what` are done; `values` are a loss, a score and the like."""
        ...

    def picture(self, what: str, path: Path) -> None:
        """A picture of how it stands is in a file."""
        ...

    def asks(self) -> bool:
        """Whether the work is to pause or stop: it saves what it has, and calls `check`."""
        ...

    def check(self) -> None:
        """A point from which the work can go on: waits here while it is paused, raises if it is to end."""
        ...


class Bar:
    """A bar on stderr; into a file, a line every half a minute at most. It never asks for anything."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._what, self._done = "", 0

    def progress(self, what: str, done: int, total: int, **values: float) -> None:
        if self._bar is None or self._what != what or done < self._done:
            if self._bar is not None:
                self._bar.leave = False  # it makes room for what goes on within one of its pieces
            self.close()
            self._bar = progress_bar(total=total, desc=what, initial=done)
            self._what, self._done = what, done
        if values:
            self._bar.set_postfix({n: f"{v:.3f}" for n, v in values.items()}, refresh=False)
        self._bar.update(done - self._done)
        self._done = done
        if done >= total:
            self.close()

    def picture(self, what: str, path: Path) -> None:
        return

    def asks(self) -> bool:
        return False

    def check(self) -> None:
        return

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Counter:
    """Tells how many blocks of an image are done, from any thread; of a small image, nothing.

    Args:
        what: is counted, such as "forest blocks".
    """

    def __init__(self, watch: Watch | None, what: str, total: int):
        self._watch, self._what, self._total = watch if total > _FEW else None, what, total
        self._done, self._lock = 0, threading.Lock()

    def one_more(self) -> None:
        with self._lock:
            self._done += 1
            if self._watch is not None:
                self._watch.progress(self._what, self._done, self._total)


_hidden = False


def hide_bars() -> None:
    """No bars from now on in this process."""
    global _hidden
    _hidden = True


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
    """A bar on stderr; into a file, a line every half a minute at most."""
    interval = 0.2 if sys.stderr.isatty() else 30.0
    options |= {"disable": True} if _hidden else {}
    return tqdm(*arguments, dynamic_ncols=True, mininterval=interval, maxinterval=2 * interval, **options)


def watched(items: Iterable[T], total: int, what: str, watch: Watch) -> Iterator[T]:
    """The items, telling how many are done."""
    watch.progress(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        watch.progress(what, done, total)


def safely(items: Sequence[T], what: str, watch: Watch) -> Iterator[T]:
    """The items, telling how many are done, with a safe point before each."""
    for item in watched(items, len(items), what, watch):
        watch.check()
        yield item
