"""Where blocks are worked on: threads of this process, other processes, or the workers of a dask cluster."""

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import torch

from shallow2deep.blocks import Block
from shallow2deep.errors import InputError, LostWorkerError, MissingDataError, one_line

Work = Callable[[Block], Any]
Task = tuple[int, int, Block]
"""The number of the work, that of the block, and the block."""

Crew = Callable[[Iterable[Task], bool], Iterator[tuple[Task, Any]]]
"""Does tasks in any order, or on threads one after the other if told so; gives each with what it came to."""

_QUEUED = 4  # tasks for each worker that wait or are done


class Workplace(Protocol):
    """Where works are done. All places give the same bytes where torch has one thread here, too."""

    def crew(self, works: Sequence[Work]) -> Any:
        """A context with a `Crew` whose workers are given all works once, and not with each task."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process: torch and the compiled kernels release Python's lock."""

    count: int

    def __post_init__(self) -> None:
        _require_some(self.count, "threads")

    def __call__(self, work: Callable[[Block], None], items: Iterable[Block]) -> None:
        """See `block_loop.Runner`."""
        with ThreadPoolExecutor(self.count) as pool:
            for _ in pool.map(work, items):
                pass

    @contextmanager
    def crew(self, works: Sequence[Work]) -> Iterator[Crew]:
        """See `Workplace`; works that use several threads by themselves are done one after the other."""

        def do(tasks: Iterable[Task], alone: bool) -> Iterator[tuple[Task, Any]]:
            count = 1 if alone else self.count
            with ThreadPoolExecutor(count) as pool:
                yield from _as_done(pool, lambda task: works[task[0]](task[2]), tasks, lambda: count)

        yield do


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, each with one thread. A script that uses them must be guarded as
    `multiprocessing` asks for: `if __name__ == "__main__":`."""

    count: int

    def __post_init__(self) -> None:
        _require_some(self.count, "processes")

    @contextmanager
    def crew(self, works: Sequence[Work]) -> Iterator[Crew]:
        """See `Workplace`.

        Raises:
            InputError: a work cannot be sent to other processes; LostWorkerError: one was killed.
        """
        _require_sendable(works)
        pool = ProcessPoolExecutor(self.count, get_context("spawn"), _equip, ("", tuple(works)))
        try:
            yield lambda tasks, alone: _as_done(pool, partial(_do, ""), tasks, lambda: self.count)
        except BrokenProcessPool:
            raise LostWorkerError(
                "a process that worked on blocks was killed, perhaps for lack of memory; give fewer "
                "processes, and the same command goes on"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Dask:
    """Workers of a dask cluster, which see the same files and have this package.

    What a killed worker had at work is done again by others. Cluster and workers are trusted: what they send
    each other is dask's own.

    Attributes:
        cluster: `local:N` for N processes of this machine, the address of a scheduler, or the name of its
            JSON file.
    """

    cluster: str

    @contextmanager
    def crew(self, works: Sequence[Work]) -> Iterator[Crew]:
        """See `Workplace`.

        Raises:
            InputError: dask is missing, or the cluster cannot be reached; LostWorkerError: workers are
                killed again and again.
        """
        _require_sendable(works)
        distributed = _distributed()
        with self._client(distributed) as client:
            name = f"shallow2deep-{uuid4().hex}"
            client.register_plugin(_plugin(distributed)(name, tuple(works)), name=name)

            def count() -> int:  # workers may come later
                return max(1, sum(client.nthreads().values()))

            try:
                pool = client.get_executor(pure=False)
                yield lambda tasks, alone: _as_done(pool, partial(_do, name), tasks, count)
            except (CancelledError, distributed.comm.CommClosedError):
                raise LostWorkerError(
                    f"the scheduler of {self.cluster} is gone; start it again, and the same command goes on"
                ) from None
            except distributed.KilledWorker as error:
                raise LostWorkerError(
                    f"workers that had one block were killed again and again ({one_line(error)}); give them "
                    "more memory, and the same command goes on"
                ) from None
            finally:
                with suppress(Exception):  # of any kind, where the scheduler is gone
                    client.unregister_worker_plugin(name)

    @contextmanager
    def _client(self, distributed: Any) -> Iterator[Any]:
        kind, _, count = self.cluster.partition(":")
        if kind == "local":
            if not count.isdecimal() or int(count) < 1:
                raise InputError(f"--cluster {self.cluster}: give local:N, N processes, or an address")
            options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
            with (
                distributed.LocalCluster(n_workers=int(count), **options) as cluster,
                distributed.Client(cluster) as client,
            ):
                yield client
            return
        where = {"address": self.cluster}
        if self.cluster.endswith(".json"):
            if not Path(self.cluster).is_file():
                raise MissingDataError(f"{self.cluster}: there is no such file of a dask scheduler")
            where = {"scheduler_file": self.cluster}
        try:
            client = distributed.Client(**where, timeout="30s")
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"--cluster {self.cluster}: no dask scheduler answers there ({one_line(error)}); give "
                "local:N, an address such as tcp://host:8786, or the scheduler's JSON file"
            ) from None
        with client:
            yield client


def workplace(threads: int, processes: int | None = None, cluster: str | None = None) -> Workplace:
    """The one that was asked for; threads if none was.

    Raises:
        InputError: both were.
    """
    if processes is not None and cluster is not None:
        raise InputError("--processes and --cluster both say where blocks are worked on; give one of them")
    if cluster is not None:
        return Dask(cluster)
    return Threads(threads) if processes is None else Processes(processes)


def _as_done(
    pool: Executor, do: Callable[[Task], Any], tasks: Iterable[Task], workers: Callable[[], int]
) -> Iterator[tuple[Task, Any]]:
    """Tasks and what they came to, as they are done; those behind them wait until there is a place."""
    waiting = iter(tasks)
    at_work: dict[Future[Any], Task] = {}
    try:
        while True:
            for task in islice(waiting, max(0, _QUEUED * workers() - len(at_work))):
                at_work[pool.submit(do, task)] = task
            if not at_work:
                return
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                yield at_work.pop(future), future.result()
    finally:
        for future in at_work:
            future.cancel()


_equipment: dict[str, tuple[Work, ...]] = {}
"""In a process that works for another one: the works, by the name of the crew."""
_lock = threading.Lock()


def _equip(crew: str, works: tuple[Work, ...]) -> None:
    torch.set_num_threads(1)  # with more, networks round otherwise, and workers share the cores already
    with _lock:
        _equipment[crew] = works


def _dismiss(crew: str) -> None:
    with _lock:
        _equipment.pop(crew, None)


def _do(crew: str, task: Task) -> Any:
    return _equipment[crew][task[0]](task[2])


def _plugin(distributed: Any) -> Any:
    """What dask sends to each worker, also to those that come later."""

    class Equipment(distributed.WorkerPlugin):
        def __init__(self, crew: str, works: tuple[Work, ...]):
            self.crew, self.works = crew, works

        def setup(self, worker: Any) -> None:
            _equip(self.crew, self.works)

        def teardown(self, worker: Any) -> None:
            _dismiss(self.crew)

    return Equipment


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError("--cluster needs dask; pip install 'shallow2deep[dask]'") from None
    return distributed


def _require_sendable(works: Sequence[Work]) -> None:
    """Raises InputError for what cannot be pickled, such as networks of one's own."""
    try:
        pickle.dumps(works)
    except Exception as error:  # anything, by what objects do
        raise InputError(
            f"this model cannot be sent to other processes ({one_line(error)}); work with threads, without "
            "--processes and --cluster"
        ) from None


def _require_some(count: int, what: str) -> None:
    if count < 1:
        raise InputError(f"{count} {what} were asked for; give 1 or more")
