"""The server as a process: where it listens, how it ends, and what is left when it is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny import Data, artifacts

from shallow2deep import connect, enhancer_train
from shallow2deep.cli import main
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.io.atomic import read_json
from shallow2deep.runs.events import read_events
from shallow2deep.runs.worker import worker_at
from shallow2deep.service.client import Client
from shallow2deep.service.server import Options, listening, serve


@contextmanager
def server(root: Path, *options: object) -> Iterator[subprocess.Popen]:
    """A process that answers, as its connection file says."""
    connection = root.with_name("connection.json")
    connection.unlink(missing_ok=True)
    command = [sys.executable, "-m", "shallow2deep", "serve", "--root", root, "--port", 0]
    command += ["--connection-file", connection, *options]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as process:
        try:
            while not connection.exists():
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def addresses(pid: int) -> set[str]:
    """At which a process listens."""
    found = psutil.Process(pid).net_connections("inet")
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def training(client: Client, job: str, after: int = 0) -> Mapping[str, Any]:
    """The first event of a training."""
    return next(event for event in client.follow(job, after) if event.get("what") == "training")


def test_it_listens_on_this_computer_alone_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    with server(tmp_path / "root") as process:
        assert addresses(process.pid) == {"127.0.0.1"}
        connection = tmp_path / "connection.json"
        assert connection.stat().st_mode & 0o077 == 0
        assert connect(connection).runs() == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not connection.exists()


@pytest.mark.slow
def test_killed_with_its_job_a_server_goes_on_and_ends_with_the_same_bytes(
    data: Data, tmp_path: Path
) -> None:
    root, connection = tmp_path / "root", tmp_path / "connection.json"
    endless = {"steps": 10**6, "patience": 10**6, "validate_every": 40, "checkpoint_every": 10}
    endless = data.source_values()["enhancer"] | endless
    with server(root, "--readable", data.folder) as process:
        client = connect(connection)
        job = client.start("enhancer-train", data.source_values(enhancer=endless))["id"]
        run = root / "jobs" / job / "run"
        known = training(client, job)["position"]
        process.kill()
        worker = worker_at(run)
        assert worker is not None, "the job does not end with its server"
        psutil.Process(worker.pid).kill()
    with server(root, "--readable", data.folder) as process:
        client = connect(connection)
        now = training(client, job, known)
        change = client.change(job, [f"steps={now['done'] + 80}"])
        assert change is not None
        told = [*client.follow(job, known)]
        assert told[-1]["kind"] == "finished"
        written = [position for position, _ in read_events(run / "events.jsonl", known)]
        assert [event["position"] for event in told] == written
    straight = tmp_path / "straight"
    enhancer_train(data.source(enhancer=endless, changes=[change]), straight)
    expected = artifacts(straight)
    assert {name: content for name, content in artifacts(run).items() if name in expected} == expected


@pytest.mark.slow
def test_elsewhere_than_on_this_computer_a_token_is_made(tmp_path: Path) -> None:
    with server(tmp_path / "root", "--host", "0.0.0.0") as process:
        said = read_json(tmp_path / "connection.json")
        assert len(said["token"]) > 30
        url = said["url"].replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(InputError, match="no token"):
            connect(url)
        assert connect(url, said["token"]).runs() == []
        process.terminate()
        assert process.stderr
        assert said["token"] in process.stderr.read()


def test_options_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2D_MODELS", "")  # which a server sets for itself
    with pytest.raises(SettingsError, match="give at least 16"):
        serve(Options(tmp_path / "root", token="short"))
    with pytest.raises(SettingsError, match="a certificate and its key"):
        serve(Options(tmp_path / "root", port=0, certificate=tmp_path / "none.pem"))
    pem = tmp_path / "none.pem"
    pem.write_text("nothing")
    with pytest.raises(InputError, match="unusable for TLS"):
        serve(Options(tmp_path / "root", port=0, certificate=pem, key=pem))
    with listening("127.0.0.1", 0) as taken, pytest.raises(InputError, match="cannot listen"):
        serve(Options(tmp_path / "root", port=taken.getsockname()[1]))
    with pytest.raises(InputError, match="cannot listen"):
        serve(Options(tmp_path / "root", host="192.0.2.1", port=0))


def test_without_the_extra_a_sentence_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "shallow2deep.service.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr("sys.argv", ["s2d", "serve", "--root", str(tmp_path / "root")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'shallow2deep[serve]'" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()
