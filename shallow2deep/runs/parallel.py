"""Independent pieces of a stage's work on several threads, with progress and a way out."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from joblib import Parallel, delayed, effective_n_jobs

from shallow2deep.progress import watched
from shallow2deep.runs.job import Job

T = TypeVar("T")


def in_parallel(work: Callable[[T], None], items: Sequence[T], jobs: int, what: str, job: Job) -> None:
    """Calls `work` for each item; filters, forests and predictions release the interpreter's lock.

    Raises:
        Interrupted, Aborted: see `Control.check`; items at work are finished first.
    """
    if not items:
        return

    def guarded(item: T) -> None:
        job.control.hold()
        if not job.control.stop_requested():
            work(item)

    done: Iterable[None] = Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")(
        delayed(guarded)(item) for item in items
    )
    for _ in watched(done, len(items), what, job):
        pass
    job.check()


def threads_each(jobs: int, items: int = 1) -> int:
    """Threads for each of the items at work, so that all jobs are busy where items are few."""
    return max(1, effective_n_jobs(jobs) // max(1, items))
