"""Whole runs: the same bytes every time, whatever stops them, and nothing done twice."""

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
from filelock import FileLock
from tiny import SIZE, Data, artifacts

from shallow2deep import adapt, enhancer_train, predict
from shallow2deep.settings import RawData
from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.io.volumes import open_volume
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.commands.status import status


def s2d(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from shallow2deep.cli import main; main()", *map(str, arguments)]


def test_source_run_makes_what_it_says(source_run: Path) -> None:
    assert len(list((source_run / "forests").glob("forest_*.npz"))) == 6
    for place in ("forests", "probabilities", "enhancer", "source_net"):
        assert (source_run / place / "manifest.json").is_file()
    assert yaml.safe_load((source_run / "settings.yaml").read_text())["classes"] == ["background", "disc"]
    assert not list(source_run.rglob("unfinished"))
    assert {state.word for state in status(source_run).stages.values()} == {"finished"}


def test_target_run_makes_maps_of_every_image(target_run: Path) -> None:
    for stage, channels in (("target_forest", 2), ("enhanced", 1)):
        maps = sorted((target_run / stage).glob("*.h5"))
        assert [m.name for m in maps] == [f"target{n}_raw.h5" for n in range(4)]
        p = open_volume(maps[0]).read()
        assert p.shape == (channels, SIZE, SIZE)
        assert p.min() >= 0
        assert p.max() <= 1
    assert {state.word for state in status(target_run).stages.values()} == {"finished"}


def test_same_command_twice_gives_the_same_bytes_for_any_number_of_workers(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path
) -> None:
    settings = data.source_values()["enhancer"]
    config = data.source(
        jobs=1, enhancer=settings | {"workers": 2, "checkpoint_every": 5}, source_net=settings
    )
    enhancer_train(config, tmp_path / "source")
    assert artifacts(tmp_path / "source") == artifacts(source_run)
    adapt(data.target(tmp_path / "source", jobs=1), tmp_path / "target")
    assert artifacts(tmp_path / "target") == artifacts(target_run)


def test_finished_runs_do_nothing(data: Data, source_run: Path, target_run: Path) -> None:
    def times(run: Path) -> dict:
        return {p: p.stat().st_mtime_ns for stage in run.glob("*/") for p in stage.rglob("*")}

    before = times(source_run), times(target_run)
    enhancer_train(data.source(source_net=data.source_values()["enhancer"]), source_run)
    adapt(data.target(source_run), target_run)
    assert before == (times(source_run), times(target_run))


def _wait_until_it_works(process: subprocess.Popen, log: Path) -> None:
    """Until a line is added to the run's log: Python has started, and signals are caught."""
    before = log.stat().st_size if log.exists() else 0
    while process.poll() is None and not (log.exists() and log.stat().st_size > before):
        time.sleep(0.02)


@pytest.mark.parametrize("name", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    data: Data, source_run: Path, tmp_path: Path, name: signal.Signals
) -> None:
    """Each try lives longer than the one before, so the stops fall into every stage."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.source_values(source_net=data.source_values()["enhancer"])))
    run = tmp_path / "run"
    command = s2d("enhancer-train", config, "--run", run)
    codes = []
    for pause in np.linspace(0.2, 9, 7):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_until_it_works(process, run / "log.txt")
        time.sleep(pause)
        process.send_signal(name)
        code = process.wait(300)
        if (run / "source_net" / "manifest.json").exists():  # its work was done before the signal came
            break
        codes.append(code)
    assert set(codes) == {-name if name is signal.SIGKILL else 128 + name}
    subprocess.run(command, check=True, capture_output=True)
    assert artifacts(tmp_path / "run") == artifacts(source_run)


def test_a_signal_to_all_processes_of_a_training(data: Data, tmp_path: Path) -> None:
    """As a terminal, timeout or a cluster's scheduler sends it: to those that prepare samples, too."""
    settings = data.source_values()["enhancer"] | {"workers": 1, "steps": 100_000, "patience": 100_000}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(data.source_values(enhancer=settings)))
    command = s2d("enhancer-train", config, "--run", tmp_path / "run")
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


def test_status_explains_changed_data(data: Data, source_run: Path, target_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data.folder, tmp_path / "data")
    run = tmp_path / "run"
    adapt(Data(folder).target(source_run), run)
    shutil.copy(folder / "target1_strokes.png", folder / "target0_strokes.png")
    found = status(run)
    assert found.stages["target_forest"].word == "stale"
    assert "strokes 0" in found.stages["target_forest"].reason
    assert "target_forest" in found.stages["enhanced"].reason


def test_second_process_on_a_run_is_refused(data: Data, source_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(source_run, tmp_path / "run")
    with FileLock(run / ".lock"), pytest.raises(RunBusyError, match="another process"):
        enhancer_train(data.source(), run)


def test_folder_of_something_else_is_refused(data: Data, source_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for folder in (tmp_path, source_run):
        with pytest.raises(InputError, match="holds other things"):
            adapt(data.target(source_run), folder)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_prediction_of_the_same_images_is_the_same(data: Data, target_run: Path, tmp_path: Path) -> None:
    names = f"{data.folder}/target*_raw.png"
    for step, stage in (("forest", "target_forest"), ("enhanced", "enhanced")):
        for path in predict(target_run, names, tmp_path / step, step):
            np.testing.assert_array_equal(
                open_volume(path).read(), open_volume(target_run / stage / path.name).read()
            )


def test_run_stays_whole_without_the_enhancers_run(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(source_run, tmp_path / "source")
    adapt(data.target(source), tmp_path / "target")
    shutil.rmtree(source)
    raw = f"{data.folder}/target0_raw.png"
    out = predict(tmp_path / "target", raw, tmp_path / "one.zarr", "enhanced")
    expected = open_volume(target_run / "enhanced" / "target0_raw.h5").read()
    np.testing.assert_array_equal(open_volume(out[0]).read(), expected)


def test_source_net_predicts_raw(data: Data, source_run: Path, tmp_path: Path) -> None:
    out = predict(source_run / "source_net", f"{data.folder}/target0_raw.png", tmp_path / "p.tif")
    assert open_volume(out[0]).read().squeeze().shape == (SIZE, SIZE)


def test_scores_of_files(data: Data, target_run: Path) -> None:
    maps = RawData(raw=(f"{target_run}/target_forest/*.h5",))
    scores = evaluate(maps, RawData(raw=(f"{data.folder}/target*_labels.png",)))
    assert len(scores) == 5
    assert scores["all"]["dice"] > 0.3
