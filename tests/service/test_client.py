"""A server from Python and from the command line."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from served import COUNT, answering, let_jobs_count
from tiny import Data

from shallow2deep import connect
from shallow2deep.cli import main
from shallow2deep.errors import (
    InputError,
    MissingDataError,
    NotStartedError,
    RunBusyError,
    SettingsError,
    Shallow2DeepError,
)
from shallow2deep.io.atomic import write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.runs import detached
from shallow2deep.runs.events import read_events
from shallow2deep.service.client import Client
from shallow2deep.service.jobs import Jobs


@pytest.fixture
def client(jobs: Jobs) -> Iterator[Client]:
    with answering(jobs) as url:
        yield connect(url)


def until(client: Client, job: str, state: str) -> None:
    end = time.monotonic() + 60
    while client.standing(job)["state"] != state:
        assert time.monotonic() < end, client.standing(job)
        time.sleep(0.05)


def told(jobs: Jobs, job: str) -> list[dict]:
    """All that a run has written down."""
    path = jobs.get(job).run / "events.jsonl"
    return [{**event, "position": position} for position, event in read_events(path)]


def test_many_follow_a_run_and_those_who_were_away_miss_nothing(
    client: Client, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_jobs_count(monkeypatch, jobs, 400)
    job = client.start("enhancer-train", COUNT)["id"]
    seen: list[list] = [[] for _ in range(20)]

    def follow(number: int) -> None:
        for event in client.follow(job):
            seen[number].append(event)
            if number % 2 and event["kind"] != "finished":  # goes away after each event
                break
        while number % 2 and seen[number][-1]["kind"] != "finished":
            seen[number].append(next(iter(client.follow(job, seen[number][-1]["position"]))))

    threads = [threading.Thread(target=follow, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = told(jobs, job)
    assert len(expected) > 5
    assert all(events == expected for events in seen)


def test_a_job_is_steered_from_elsewhere(
    client: Client, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    let_jobs_count(monkeypatch, jobs)
    job = client.start("enhancer-train", COUNT, "counting")["id"]
    assert [run["name"] for run in client.runs()] == ["counting"]
    until(client, job, "running")
    assert client.pause(job)["state"] == "paused"
    assert client.resume(job)["state"] == "running"
    change = client.change(job, ["learning_rate=1e-3"])
    assert change is not None
    assert change["learning_rate"] == 1e-3
    with pytest.raises(SettingsError, match="cannot be changed"):
        client.change(job, ["seed=3"])
    with pytest.raises(RunBusyError, match="abort it first"):
        client.clean(job)
    assert client.abort(job)["state"] == "aborted"
    brought = client.results(job, tmp_path / "here")
    run = jobs.get(job).run
    assert run / "settings.yaml" in [run / path.relative_to(tmp_path / "here") for path in brought]
    assert all(
        path.read_bytes() == (run / path.relative_to(tmp_path / "here")).read_bytes() for path in brought
    )
    assert "paused" in client.log(job)
    client.clean(job)
    with pytest.raises(MissingDataError, match="no such job"):
        client.standing(job)


def test_files_are_sent_once(client: Client, jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    (folder / "c").mkdir(parents=True)
    (folder / "zarr.json").write_text("{}")
    (folder / "c" / "0").write_text("chunk")
    name = client.upload(folder)
    assert name == client.upload(folder)
    kept = jobs.places.root / name
    assert (kept / "c" / "0").read_text() == "chunk"
    (folder / "c" / "0").write_text("other")
    assert client.upload(folder) != name
    with pytest.raises(MissingDataError):
        client.upload(tmp_path / "none.png")


def test_nobody_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not answer"):
        connect("http://127.0.0.1:9")
    with pytest.raises(InputError, match="no address of a server"):
        connect("127.0.0.1")
    write_json(tmp_path / "connection.json", {"url": "http://127.0.0.1:9", "token": None})
    with pytest.raises(InputError, match="does not answer"):
        connect(tmp_path / "connection.json")


def test_names_that_a_server_gives_stay_in_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = Client("http://127.0.0.1:9")
    for name in ("../x", "/etc/x", "a/../../x", "a\\..\\x", ""):
        monkeypatch.setattr(client, "_json", lambda *_, name=name: [{"name": name, "size": 1}])
        with pytest.raises(Shallow2DeepError, match="refused"):
            client.results("1", tmp_path)


def s2d(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["s2d", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_adapt_on_a_server_gives_what_adapt_gives_here(
    client: Client, jobs: Jobs, data: Data, source_run: Path, target_run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    raw, strokes = (f"{data.folder}/target*_{what}.png" for what in ("raw", "strokes"))
    command = ["--server", client.url, "adapt", "--raw", raw, "--strokes", strokes, "--enhancer", source_run]
    sets = (
        "classes=[background, disc]",
        "target_forest.n_trees=5",
        "enhanced.device=cpu",
        "enhanced.scales=[0.7, 1.0]",
    )
    command += [word for one in sets for word in ("--set", one)]
    run = tmp_path / "here"
    assert s2d(monkeypatch, *command, "--run", run) == 0
    assert "recommended:" in capsys.readouterr().out
    for path in sorted(target_run.glob("*/*.h5")):
        assert (run / path.relative_to(target_run)).read_bytes() == path.read_bytes(), path
    assert s2d(monkeypatch, *command, "--run", run) == 0
    assert len(client.runs()) == 1
    assert s2d(monkeypatch, *command, "--run", run, "--set", "seed=-1") == 2
    assert s2d(monkeypatch, *command, "--run", tmp_path / "other", "--trust") == 2
    assert s2d(monkeypatch, "--server", client.url, "status", run) == 2

    job, image = client.runs()[0]["id"], f"{data.folder}/target0_raw.png"
    expected, _ = read_map(run / "enhanced" / "target0_raw.h5")
    p = client.predict(job, image, (10, 60), (0, 50), step="enhanced")
    np.testing.assert_allclose(p, expected[:, 10:60, 0:50], atol=1e-3)
    with pytest.raises(InputError, match="was asked for, of 96 pixels"):
        client.predict(job, image, (10, 600))
    with pytest.raises(InputError, match="none of its results"):
        client.predict(job, image, step="segmentor")
    assert client.thumbnail(image)[:4] == b"\x89PNG"


def test_what_is_refused_there_is_refused_here(
    client: Client, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refuse(*arguments: object) -> None:
        raise NotStartedError("the strokes are not enough; paint more", 2)

    monkeypatch.setattr(detached, "start", refuse)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.source_values()))
    command = ["--server", client.url, "enhancer-train", config, "--run", tmp_path / "here"]
    assert s2d(monkeypatch, *command) == 1
    assert "s2d: the strokes are not enough; paint more" in capsys.readouterr().err
