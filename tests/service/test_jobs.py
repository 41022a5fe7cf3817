"""Jobs in a queue: begun, steered, refused, and gone on with when their server or they were killed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tiny import Data, artifacts

from shallow2deep import enhancer_train
from shallow2deep.errors import InputError, MissingDataError, RunBusyError, SettingsError
from shallow2deep.runs import steering
from shallow2deep.runs.worker import worker_at
from shallow2deep.service.jobs import Job, Jobs
from shallow2deep.service.places import Places


@pytest.fixture
def places(tmp_path: Path, data: Data) -> Places:
    return Places(tmp_path / "root", [data.folder])


@pytest.fixture
def jobs(places: Places) -> Iterator[Jobs]:
    found = Jobs(places)
    yield found
    for job in found.all():
        kill(job)


@pytest.fixture
def long(data: Data) -> dict:
    """Settings of a training that lasts longer than any test."""
    return data.source_values(enhancer=data.source_values()["enhancer"] | {"steps": 10**6, "patience": 10**6})


def kill(job: Job) -> None:
    if worker := worker_at(job.run):
        psutil.Process(worker.pid).kill()
        steering.wait_until(job.run, lambda now: now.worker is None, 30)


def ticked(jobs: Jobs, reached: Callable[[], bool]) -> None:
    """Until something is reached."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        jobs.tick()
        time.sleep(0.1)


def training(jobs: Jobs, id_: str) -> bool:
    return any(event.get("what") == "training" for _, event in jobs.events(id_))


def test_jobs_wait_for_each_other_and_go_on_after_kills(places: Places, jobs: Jobs, long: dict) -> None:
    first, second = jobs.submit("enhancer-train", long, "first"), jobs.submit("enhancer-train", long)
    assert [job.name for job in jobs.all()] == ["first", "enhancer-train"]
    ticked(jobs, lambda: training(jobs, first.id))
    assert [jobs.standing(job.id).word for job in (first, second)] == ["running", "queued"]
    assert jobs.pause(second.id).word == "paused"
    assert jobs.resume(second.id).word == "queued"
    assert jobs.pause(first.id).word == "paused"

    again = Jobs(places)  # as after kill -9 of the server: the process lives, and is left alone
    worker = worker_at(first.run)
    again.tick()
    assert worker_at(first.run) == worker
    assert [again.standing(job.id).word for job in (first, second)] == ["paused", "queued"]
    with pytest.raises(RunBusyError, match="abort it first"):
        again.clean(first.id)
    assert again.resume(first.id).word == "running"

    kill(first)  # this server sees it die
    ticked(again, lambda: again.standing(first.id).word == "failed")
    assert "it is gone" in again.standing(first.id).why
    ticked(again, lambda: again.standing(second.id).word == "running")
    assert again.abort(second.id).word == "aborted"
    assert again.clean(second.id) == []
    assert not second.folder.exists()


def test_what_died_with_its_server_is_started_again_and_gives_the_same_bytes(
    places: Places, jobs: Jobs, data: Data, long: dict, tmp_path: Path
) -> None:
    job = jobs.submit("enhancer-train", long)
    ticked(jobs, lambda: training(jobs, job.id))
    changed = jobs.change(job.id, ["steps=400", "learning_rate=1e-3"])
    assert changed is not None
    kill(job)

    again = Jobs(places)
    assert again.standing(job.id).word == "queued"
    ticked(again, lambda: again.standing(job.id).word == "finished")
    assert again.resume(job.id).word == "finished"
    settings = data.source(enhancer=long["enhancer"], changes=[{**changed.model_dump(exclude_none=True)}])
    enhancer_train(settings, tmp_path / "straight")
    made = artifacts(job.run)
    assert {name: made[name] for name in artifacts(tmp_path / "straight")} == artifacts(tmp_path / "straight")


def test_events_are_told_once_each_from_any_position(jobs: Jobs, data: Data) -> None:
    job = jobs.submit("enhancer-train", data.source_values())
    with jobs.serving():
        told = list(jobs.follow(job.id))
    kinds = [event["kind"] for _, event in told]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    positions = [position for position, _ in told]
    assert positions == sorted(set(positions))
    for number, position in enumerate(positions):
        assert list(jobs.follow(job.id, position)) == told[number + 1 :]


def test_what_is_refused_when_it_starts_says_why(jobs: Jobs, data: Data) -> None:
    values = data.source_values()
    values["enhancer"]["device"] = "cuda:77"
    job = jobs.submit("enhancer-train", values)
    ticked(jobs, lambda: jobs.standing(job.id).ended)
    assert jobs.standing(job.id).word == "failed"
    assert "cuda:77" in jobs.standing(job.id).why
    with pytest.raises(InputError, match="nothing to pause"):
        jobs.pause(job.id)
    with pytest.raises(InputError, match="not begun"):
        jobs.change(job.id, ["steps=3"])
    jobs.clean(job.id)
    assert jobs.all() == []


def test_settings_are_refused_before_a_job_is_made(jobs: Jobs, data: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='the settings: unknown setting "stepz"'):
        jobs.submit("enhancer-train", data.source_values(stepz=3))
    with pytest.raises(SettingsError, match="predict takes no file of settings"):
        jobs.submit("predict", {})
    with pytest.raises(MissingDataError, match="no such file"):
        jobs.submit(
            "adapt", {"target": {"raw": "data/a.png", "strokes": "data/b.png"}, "enhancer": "nuclei-2d"}
        )
    outside = tmp_path / "outside.png"
    outside.touch()
    names = [
        str(outside),
        "data/../../outside.png",
        "~/x.png",
        f"file://{outside}",
        "../root*/../outside.png",
    ]
    for name in names:
        for values in (
            {"target": {"raw": name, "strokes": name}, "enhancer": "nuclei-2d"},
            {
                "target": {"raw": f"{data.folder}/*", "strokes": f"{data.folder}/*"},
                "enhancer": ["foreground=" + name],
            },
        ):
            with pytest.raises(InputError, match="not in a folder that this server uses"):
                jobs.submit("adapt", values)
    assert jobs.all() == []


@pytest.mark.parametrize("id_", ["", "..", "../jobs", "0" * 16, "defaults.yaml", "é" * 16])
def test_no_other_name_is_that_of_a_job(jobs: Jobs, id_: str) -> None:
    with pytest.raises(MissingDataError, match="no such job"):
        jobs.get(id_)


def test_one_server_at_a_time(places: Places, jobs: Jobs) -> None:
    with jobs.serving(), pytest.raises(RunBusyError), Jobs(places).serving():
        pass
