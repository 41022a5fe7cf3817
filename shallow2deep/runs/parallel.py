"""Independent pieces of a stage's work on several threads, with a progress bar and a way out."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from joblib import Parallel, delayed, effective_n_jobs

from shallow2deep.progress import progress_bar
from shallow2deep.runs.engine import check_stop, stop_requested

T = TypeVar("T")


def in_parallel(work: Callable[[T], None], items: Sequence[T], jobs: int, description: str) -> None:
    """Calls `work` for each item; filters, forests and predictions release the interpreter's lock.

    Raises:
        Interrupted: a signal came; items at work are finished first.
    """
    if not items:
        return

    def guarded(item: T) -> None:
        if not stop_requested():
            work(item)

    done: Iterable[None] = Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")(
        delayed(guarded)(item) for item in items
    )
    for _ in progress_bar(done, total=len(items), desc=description):
        pass
    check_stop()


def threads_each(jobs: int, items: int = 1) -> int:
    """Threads for each of the items at work, so that all jobs are busy where items are few."""
    return max(1, effective_n_jobs(jobs) // max(1, items))
