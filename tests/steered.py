"""A run of one stage that counts, with a checkpoint where it is asked: a process to be steered and killed.

python steered.py RUN COUNT
"""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.io.known import Known
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.events import last_event
from shallow2deep.runs.folder import execute
from shallow2deep.runs.job import Job
from shallow2deep.runs.worker import worker_at
from shallow2deep.settings import EnhancerTrainConfig

CONFIG = EnhancerTrainConfig.model_validate({"sources": [{"raw": "raw.png", "labels": "labels.png"}]})


def counting(count: int, job: Job) -> None:
    saved = job.folder / "checkpoints" / "count.json"
    done = read_json(saved) if saved.exists() else 0
    while done < count:
        done += 1
        time.sleep(0.01)
        job.progress("training", done, count, loss=1 / done)
        if job.asks():
            write_json(saved, done)
            job.steer(".", done)
            job.check()
    write_json(job.folder / "counted.json", count)


def run_counting(run: Path, count: int = 100_000) -> None:
    def stages(config: EnhancerTrainConfig) -> list[Stage]:
        changes = [change.model_dump(exclude_none=True) for change in config.changes]
        work = partial(counting, count)
        return [Stage("enhancer", {}, {}, work, changes=changes, changeable=("learning_rate", "steps"))]

    execute(run, "enhancer-train", CONFIG, stages, Known())


def begin(run: Path, count: int = 100_000) -> subprocess.Popen[bytes]:
    """A process that counts, or waits as the run is paused."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(run), str(count)],
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not _has_told(run, process.pid):
        time.sleep(0.02)
    return process


def _has_told(run: Path, pid: int) -> bool:
    worker, event = worker_at(run), last_event(run)
    return bool(worker and worker.pid == pid and event and event["kind"] in ("progress", "paused"))


if __name__ == "__main__":
    from shallow2deep.errors import Shallow2DeepError

    try:
        run_counting(Path(sys.argv[1]), int(sys.argv[2]))
    except Shallow2DeepError as error:
        sys.exit(error.exit_code)
