"""Jobs in a queue: begun, steered, refused, and gone on with when their server or they were killed."""

import time
from pathlib import Path

import psutil
import pytest
from served import COUNT, let_jobs_count
from tiny import Data

from shallow2deep.errors import InputError, MissingDataError, RunBusyError, SettingsError
from shallow2deep.runs.worker import worker_at
from shallow2deep.service.jobs import Job, Jobs
from shallow2deep.service.places import Places


@pytest.fixture
def counting(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    let_jobs_count(monkeypatch, jobs)


def kill(job: Job) -> None:
    worker = worker_at(job.run)
    assert worker
    psutil.Process(worker.pid).kill()
    while worker_at(job.run):
        time.sleep(0.02)


def ticked(jobs: Jobs, id_: str, word: str) -> None:
    """Until a job is in a state."""
    end = time.monotonic() + 60
    while jobs.standing(id_).word != word:
        assert time.monotonic() < end, jobs.standing(id_)
        jobs.tick()
        time.sleep(0.05)


def test_jobs_wait_for_each_other_and_are_steered(counting: None, jobs: Jobs) -> None:
    first, second = jobs.submit("enhancer-train", COUNT, "first"), jobs.submit("enhancer-train", COUNT)
    assert [job.name for job in jobs.all()] == ["first", "enhancer-train"]
    ticked(jobs, first.id, "running")
    assert jobs.standing(second.id).word == "queued"
    assert jobs.pause(second.id).word == "paused"
    assert jobs.resume(second.id).word == "queued"
    assert jobs.pause(first.id).word == "paused"
    jobs.tick()
    assert jobs.standing(second.id).word == "queued", "what is paused keeps its memory, and its place"
    assert jobs.resume(first.id).word == "running"
    change = jobs.change(first.id, ["learning_rate=1e-3"])
    assert change is not None
    assert change.values == {"learning_rate": 1e-3}
    with pytest.raises(RunBusyError, match="abort it first"):
        jobs.clean(first.id)
    assert jobs.abort(first.id).word == "aborted"
    ticked(jobs, second.id, "running")
    assert jobs.resume(first.id).word == "queued"
    assert jobs.abort(first.id).word == "aborted"
    assert jobs.clean(first.id) == []
    assert not first.folder.exists()


def test_a_gpu_is_for_a_job_or_for_a_session(
    counting: None, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases_of = pytest.importorskip("shallow2deep.service.tiktorch.leases", reason="sessions need grpcio")
    monkeypatch.setattr(leases_of, "full_name", lambda name: name)  # there need not be GPUs
    jobs.slots = ({"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"})
    leases = leases_of.Leases(jobs.gpus_at_work)
    jobs.gpus_of_others = leases.gpus
    assert leases.lease(["cuda:0"], "session") == ["cuda:0"]
    first, second = (jobs.submit("enhancer-train", COUNT) for _ in range(2))
    ticked(jobs, first.id, "running")
    assert (jobs.get(first.id).slot, jobs.standing(second.id).word) == (1, "queued")
    with pytest.raises(RunBusyError, match="cuda:1 is already in use, by a job"):
        leases.lease(["cuda:1"], "another")
    leases.free("session")
    ticked(jobs, second.id, "running")
    with pytest.raises(RunBusyError, match="cuda:0 is already in use, by a job"):
        leases.lease(["cuda:0"], "session")


def test_a_killed_server_finds_its_jobs_as_they_are(counting: None, jobs: Jobs, places: Places) -> None:
    alive, dead, waiting = (jobs.submit("enhancer-train", COUNT) for _ in range(3))
    jobs.slots = ({}, {})
    ticked(jobs, alive.id, "running")
    ticked(jobs, dead.id, "running")
    worker = worker_at(alive.run)
    kill(dead)

    again = Jobs(places, ({}, {}))
    assert [again.standing(job.id).word for job in (alive, dead, waiting)] == ["running", "queued", "queued"]
    ticked(again, dead.id, "running")
    assert worker_at(alive.run) == worker
    assert again.standing(waiting.id).word == "queued"
    kill(dead)  # which this server has seen alive: it will not do better
    ticked(again, dead.id, "failed")
    assert "it is gone" in again.standing(dead.id).why
    ticked(again, waiting.id, "running")
    assert again.resume(dead.id).word == "queued"


def test_what_was_asked_while_a_process_began_is_asked_of_it(counting: None, jobs: Jobs) -> None:
    job = jobs.submit("enhancer-train", COUNT)
    jobs.tick()
    assert jobs.standing(job.id).word == "starting"
    jobs.pause(job.id)
    ticked(jobs, job.id, "paused")
    assert worker_at(job.run) is not None
    assert jobs.resume(job.id).word == "running"


def test_a_job_that_ends_its_computer_is_not_tried_for_ever(
    counting: None, jobs: Jobs, places: Places
) -> None:
    job = jobs.submit("enhancer-train", COUNT)
    for _ in range(5):
        jobs = Jobs(places)
        ticked(jobs, job.id, "running")
        kill(job)
    ticked(Jobs(places), job.id, "failed")


def test_events_are_told_once_each_from_any_position(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    let_jobs_count(monkeypatch, jobs, 150)
    job = jobs.submit("enhancer-train", COUNT)
    with jobs.serving():
        told = list(jobs.follow(job.id))
    kinds = [event["kind"] for _, event in told]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    positions = [position for position, _ in told]
    assert positions == sorted(set(positions))
    for number, position in enumerate(positions):
        assert list(jobs.follow(job.id, position)) == told[number + 1 :]
    assert jobs.resume(job.id).word == jobs.abort(job.id).word == "finished"


def test_what_is_refused_when_it_starts_says_why(jobs: Jobs, data: Data) -> None:
    values = data.source_values()
    values["enhancer"]["device"] = "cuda:77"
    job = jobs.submit("enhancer-train", values)
    ticked(jobs, job.id, "failed")
    assert "cuda:77" in jobs.standing(job.id).why
    with pytest.raises(InputError, match="nothing to pause"):
        jobs.pause(job.id)
    with pytest.raises(InputError, match="not begun"):
        jobs.change(job.id, ["steps=3"])
    jobs.clean(job.id)
    assert jobs.all() == []


def test_settings_are_refused_before_a_job_is_made(jobs: Jobs, data: Data) -> None:
    with pytest.raises(SettingsError, match='the settings: unknown setting "stepz"'):
        jobs.submit("enhancer-train", data.source_values(stepz=3))
    with pytest.raises(SettingsError, match="predict takes no file of settings"):
        jobs.submit("predict", {})
    target = {"raw": "data/a.png", "strokes": "data/b.png"}
    with pytest.raises(MissingDataError, match="no such file"):
        jobs.submit("adapt", {"target": target, "enhancer": "nuclei-2d"})
    assert jobs.all() == []


@pytest.mark.parametrize(
    "name",
    ["{0}", "data/../../outside.png", "~/x.png", "file://{0}", "../root*/../outside.png", "link/x.png"],
)
def test_names_that_lead_out_of_the_root_are_refused(
    jobs: Jobs, data: Data, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside.png"
    outside.touch()
    (jobs.places.root / "link").symlink_to(tmp_path)
    name = name.format(outside)
    inside = f"{data.folder}/target*_raw.png"
    for values in (
        {"target": {"raw": name, "strokes": inside}, "enhancer": "nuclei-2d"},
        {"target": {"raw": inside, "strokes": inside}, "enhancer": ["foreground=" + name]},
    ):
        with pytest.raises(InputError, match="not in a folder that this server uses"):
            jobs.submit("adapt", values)


def test_code_of_a_client_is_refused(jobs: Jobs, data: Data) -> None:
    code = jobs.places.root / "data" / "mine.py"
    code.write_text("raise SystemExit('ran')")
    values = data.source_values()
    values["enhancer"] = {**values["enhancer"], "network": {"file": f"{code}:Net"}}
    with pytest.raises(InputError, match="no client can have run"):
        jobs.submit("enhancer-train", values)


@pytest.mark.parametrize("id_", ["", "..", "../jobs", "0" * 16, "defaults.yaml", "é" * 16])
def test_no_other_name_is_that_of_a_job(jobs: Jobs, id_: str) -> None:
    with pytest.raises(MissingDataError, match="no such job"):
        jobs.get(id_)


def test_one_server_at_a_time(places: Places, jobs: Jobs) -> None:
    with jobs.serving(), pytest.raises(RunBusyError), Jobs(places).serving():
        pass
