"""Whole runs of enhancer-train: the same bytes whatever stops them, and nothing done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import s2d
from tiny import Data, artifacts

from shallow2deep import enhancer_train
from shallow2deep.commands.status import status

S2D = [sys.executable, "-m", "shallow2deep"]


def test_source_run_makes_what_it_says(source_run: Path) -> None:
    assert len(list((source_run / "forests").glob("forest_*.npz"))) == 6
    for place in ("forests", "probabilities", "enhancer", "source_net"):
        assert (source_run / place / "manifest.json").is_file()
    assert yaml.safe_load((source_run / "settings.yaml").read_text())["classes"] == ["background", "disc"]
    assert not list(source_run.rglob("unfinished"))
    assert {state.word for state in status(source_run).stages.values()} == {"finished"}


def _wait_until_it_works(process: subprocess.Popen, log: Path) -> None:
    """Until a line is added to the run's log: Python has started, and signals are caught."""
    before = log.stat().st_size if log.exists() else 0
    while process.poll() is None and not (log.exists() and log.stat().st_size > before):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "tries"),
    [
        (signal.SIGTERM, 2),
        *(
            pytest.param(name, 7, marks=pytest.mark.slow)
            for name in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
        ),
    ],
)
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    data: Data, source_run: Path, tmp_path: Path, name: signal.Signals, tries: int
) -> None:
    """Each try lives longer than the one before, so that many stops fall into every stage."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.source_values(source_net=data.source_values()["enhancer"])))
    run = tmp_path / "run"
    command = ["enhancer-train", config, "--run", run]
    codes = []
    for pause in np.linspace(0.2, 9, 7)[:tries]:
        process = subprocess.Popen([*S2D, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_until_it_works(process, run / "log.txt")
        time.sleep(pause)
        process.send_signal(name)
        code = process.wait(300)
        if (run / "source_net" / "manifest.json").exists():  # its work was done before the signal came
            break
        codes.append(code)
    assert set(codes) == {-name if name is signal.SIGKILL else 128 + name}
    assert s2d(*command).returncode == 0
    assert artifacts(tmp_path / "run") == artifacts(source_run)


def test_a_signal_to_all_processes_of_a_training(data: Data, tmp_path: Path) -> None:
    """As a terminal, timeout or a cluster's scheduler sends it: to those that prepare samples, too."""
    settings = data.source_values()["enhancer"] | {"workers": 1, "steps": 100_000, "patience": 100_000}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.source_values(enhancer=settings)))
    command = [*S2D, "enhancer-train", config, "--run", tmp_path / "run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not any((tmp_path / "run").glob("enhancer/checkpoints/*.pt")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in error


def test_changed_setting_runs_only_what_depends_on_it(data: Data, source_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(source_run, tmp_path / "run")
    settings = data.source_values()["enhancer"] | {"steps": 8}
    forest = (run / "forests" / "manifest.json").stat().st_mtime_ns
    before = artifacts(run)
    enhancer_train(data.source(enhancer=settings, source_net=data.source_values()["enhancer"]), run)
    assert (run / "forests" / "manifest.json").stat().st_mtime_ns == forest
    changed = {name for name, content in artifacts(run).items() if before[name] != content}
    assert {name.split("/")[0] for name in changed} == {"enhancer"}
