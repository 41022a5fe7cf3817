"""A data root with jobs, which are killed after the test."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tiny import Data

pytest.importorskip("fastapi", reason="the service is the extra serve")

from shallow2deep.runs.worker import worker_at
from shallow2deep.service.jobs import Job, Jobs
from shallow2deep.service.places import Places


def kill(job: Job) -> None:
    if worker := worker_at(job.run):
        psutil.Process(worker.pid).kill()
        while worker_at(job.run):
            time.sleep(0.02)


@pytest.fixture
def places(tmp_path: Path, data: Data) -> Places:
    return Places(tmp_path / "root", [data.folder])


@pytest.fixture
def jobs(places: Places) -> Iterator[Jobs]:
    found = Jobs(places)
    yield found
    for job in found.all():
        kill(job)
