"""Runs of their own: started, killed around, steered, changed by hand, and repeated with the same bytes."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from command_line import s2d
from tiny import Data, artifacts

from shallow2deep import enhancer_train
from shallow2deep.cli import main
from shallow2deep.commands.status import status
from shallow2deep.errors import InputError
from shallow2deep.io.atomic import read_json
from shallow2deep.runs.changing import change
from shallow2deep.runs.cleaning import contents
from shallow2deep.runs.detached import Started
from shallow2deep.runs.standing import Standing
from shallow2deep.runs.steering import pause, resume, wait_until
from shallow2deep.runs.worker import worker_at
from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated

S2D = [sys.executable, "-m", "shallow2deep"]


@pytest.fixture
def config(data: Data, tmp_path: Path) -> Path:
    """Settings of a training that lasts longer than any test, unless its steps are changed."""
    enhancer = data.source_values()["enhancer"] | {"steps": 1_000_000, "patience": 1_000_000}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(data.source_values(enhancer=enhancer)))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    yield folder
    if worker := worker_at(folder):
        psutil.Process(worker.pid).kill()


def training(now: Standing) -> bool:
    return bool(now.last and now.last.get("what") == "training" and now.last["done"] > 4)


def test_a_run_is_started_steered_changed_and_repeated(config: Path, run: Path, tmp_path: Path) -> None:
    started = s2d("start", "enhancer-train", config, "--run", run)
    assert started.returncode == 0, started.stderr
    worker = worker_at(run)
    assert worker is not None
    assert f"s2d watch {run}" in started.stdout
    assert str(worker.pid) in started.stdout
    wait_until(run, training, 120)

    assert pause(run).word == "paused"
    watcher = subprocess.Popen([*S2D, "watch", run], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout
    assert "paused (process" in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    assert "the run goes on" in watcher.communicate(timeout=60)[0]
    assert watcher.returncode == 0
    watcher = subprocess.Popen([*S2D, "watch", run], stdout=subprocess.PIPE)
    assert watcher.stdout
    watcher.stdout.readline()
    watcher.kill()
    watcher.communicate()
    assert worker_at(run) == worker

    resume(run)
    made = [change(run, ["learning_rate=1e-4"])]
    assert pause(run).word == "paused"
    psutil.Process(worker.pid).kill()
    wait_until(run, lambda now: now.worker is None, 30)
    assert isinstance(resume(run), Started)
    now = wait_until(run, training, 120)
    assert now.last
    steps = now.last["done"] + 100
    made.append(change(run, [f"enhancer.steps={steps}", "enhancer.batch=1"]))
    wait_until(run, lambda now: now.worker is None, 120)

    assert [one and one.values for one in made] == [{"learning_rate": 1e-4}, {"steps": steps, "batch": 1}]
    manifest = read_json(run / "enhancer" / "manifest.json")
    recorded = [one.model_dump(exclude_none=True, exclude={"stage"}) for one in made if one]
    assert manifest["settings"]["changes"] == recorded
    found = status(run)
    assert (found.word, list(found.changes)) == ("finished", made)
    with pytest.raises(InputError, match="nothing any more"):
        change(run, ["learning_rate=1e-4"])

    settings = validated(EnhancerTrainConfig, read_yaml(run / "settings.yaml"), "the run")
    enhancer_train(settings, tmp_path / "repeated")
    own, repeated = artifacts(run), artifacts(tmp_path / "repeated")
    for name in ("changes.json", "console.txt"):
        own.pop(name)
    assert own == repeated
    assert contents(run).others == []


@pytest.mark.parametrize(
    "option", ["enhancer.stepz=5", "sources=[{raw: nothing.png, labels: x.png}]", "enhancer.device=cuda:77"]
)
def test_what_is_refused_is_refused_before_it_is_detached(
    config: Path, run: Path, data: Data, option: str
) -> None:
    """In the words of the command itself; settings, names of files, and what is found out last."""
    arguments = ["enhancer-train", config, "--run", run, "--set", option]
    plain, started = s2d(*arguments), s2d("start", *arguments)
    assert started.returncode == plain.returncode == 2
    assert started.stderr == plain.stderr
    assert started.stdout == ""
    assert not run.exists()


def test_unusable_flags_and_folders_are_refused(config: Path, tmp_path: Path) -> None:
    unknown = s2d("start", "enhancer-train", config, "--run", tmp_path / "run", "--fast")
    assert (unknown.returncode, "--fast" in unknown.stderr) == (2, True)
    taken = s2d("start", "enhancer-train", config, "--run", tmp_path)
    assert (taken.returncode, "holds other things" in taken.stderr) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_a_killed_starter_leaves_the_run_alone(
    config: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the commands, from its start to its end."""

    def here(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["s2d", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out + out.err

    with subprocess.Popen([*S2D, "start", "enhancer-train", config, "--run", run]) as starter:
        while not (run / "console.txt").exists():
            time.sleep(0.02)
        starter.kill()
    assert wait_until_begun(run)
    code, said = here("start", "enhancer-train", config, "--run", run)
    assert (code, "another process works on it now" in said) == (3, True)
    code, said = here("pause", run, "--wait", 120)
    assert (code, "paused (process" in said) == (0, True)
    assert json.loads(here("status", run, "--json")[1])["state"] == "paused"
    code, said = here("resume", run)
    assert (code, "running (process" in said) == (0, True)
    code, said = here("set", run, "enhancer.learning_rate=1e-4", "--wait", 0)
    assert (code, "next safe point" in said or "by hand" in said) == (0, True)
    code, said = here("abort", run, "--discard", "--wait", 120)
    assert (code, "aborted" in said) == (0, True)
    assert here("watch", run)[0] == 4
    monkeypatch.setattr("sys.stdin", io.StringIO("y"))
    assert here("clean", run)[0] == 2  # nobody can be asked
    assert here("clean", run, "--yes")[0] == 0
    assert not run.exists()


def wait_until_begun(run: Path) -> bool:
    end = time.monotonic() + 120
    while worker_at(run) is None and time.monotonic() < end:
        time.sleep(0.05)
    return worker_at(run) is not None
