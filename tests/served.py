"""The service in a thread of this process, and jobs that count, which begin at once."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import steered
import uvicorn

from shallow2deep.runs import detached
from shallow2deep.runs.detached import Started
from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.server import listening

COUNT = {"sources": [{"raw": "data/raw.png", "labels": "data/raw.png"}]}
"""Settings of a job that counts."""


def let_jobs_count(patch: pytest.MonkeyPatch, jobs: Jobs, count: int = 100_000) -> None:
    """In place of training: real runs, with events and safe points, that do nothing else."""

    def begin(
        command: str, arguments: Sequence[str], run: Path, environment: Mapping[str, str], folder: Path
    ) -> Started:
        run.mkdir(exist_ok=True)
        return Started(run, steered.begin(run, count).pid, run / "console.txt")

    patch.setattr(detached, "start", begin)
    (jobs.places.root / "data" / "raw.png").touch()


@contextmanager
def answering(jobs: Jobs, rules: Rules | None = None) -> Iterator[str]:
    """The address at which the service answers meanwhile."""
    config = uvicorn.Config(create_app(jobs, rules or Rules()), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with listening("127.0.0.1", 0) as listener, jobs.serving():
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
