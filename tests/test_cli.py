"""The command line as such: quick refusals, options before the command, output for programs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from command_line import s2d
from tiny import Data

from shallow2deep.cli import print_rows
from shallow2deep.version import VERSION


def test_version_and_help() -> None:
    assert s2d("--version").stdout == f"shallow2deep {VERSION}\n"
    assert s2d("-h").stdout == s2d("--help").stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--set", "enhanced.scalez=[1.0]"], 'did you mean "scales"'),
        (["--raw", "nothing/*.png"], "there is no file to read"),
        (["--raw", "nothing.png"], "there is no such file"),
    ],
)
def test_refusals_come_before_torch_is_loaded(
    options: list[str], sentence: str, data: Data, tmp_path: Path
) -> None:
    """So they are quick; that it was not loaded is what can be tested on any machine."""
    code = (
        "import sys; from shallow2deep.cli import main\n"
        "try: main()\n"
        "finally: print('loaded' if {'torch', 'numba', 'sklearn'} & set(sys.modules) else 'not loaded')"
    )
    flags = ["--raw", f"{data.folder}/target0_raw.png", "--strokes", f"{data.folder}/target0_strokes.png"]
    arguments = ["adapt", *flags, "--enhancer", "nuclei-2d", "--run", str(tmp_path / "run"), *options]
    found = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert found.returncode == 2
    assert sentence in found.stderr
    assert found.stdout == "not loaded\n"
    assert not (tmp_path / "run").exists()


def test_commands_start_without_what_their_last_stages_need() -> None:
    code = (
        "import sys, shallow2deep.commands.status, shallow2deep.commands.predict\n"
        "print(*{'sklearn', 'scipy.stats', 'matplotlib', 'tensorboard', 'jinja2'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


def test_quiet_says_warnings_and_results_only(data: Data, source_run: Path, tmp_path: Path) -> None:
    flags = ["--raw", f"{data.folder}/target*_raw.png", "--strokes", f"{data.folder}/target*_strokes.png"]
    more = ["--enhancer", source_run, "--run", tmp_path / "run", "--set", "classes=[background, disc]"]
    found = s2d("-q", "adapt", *flags, *more)
    assert found.returncode == 0
    assert found.stderr == ""
    assert found.stdout.startswith("recommended: ")
    assert "target_forest: done" in (tmp_path / "run" / "log.txt").read_text()
    told = s2d("adapt", *flags, *more).stderr
    assert "painted: background" in told
    chosen = s2d("-q", "adapt", *flags, *more, "--json")
    assert json.loads(chosen.stdout)["recommended"] in ("target_forest", "enhanced")


def test_output_for_programs_is_json_alone(data: Data, target_run: Path) -> None:
    stages = json.loads(s2d("status", target_run, "--json").stdout)["stages"]
    assert {state["word"] for state in stages.values()} == {"finished"}
    known = json.loads(s2d("models", "--json").stdout)
    assert "nuclei-2d" in [model["name"] for model in known]
    maps, labels = f"{target_run}/target_forest/*.h5", f"{data.folder}/target*_labels.png"
    scores = json.loads(s2d("evaluate", "--prediction", maps, "--labels", labels, "--json").stdout)
    assert len(scores) == 5
    assert 0 < scores["all"]["dice"] < 1


def test_scores_are_summed_up_unless_each_is_asked_for(data: Data, target_run: Path) -> None:
    maps, labels = f"{target_run}/target_forest/*.h5", f"{data.folder}/target*_labels.png"
    short = s2d("evaluate", "--prediction", maps, "--labels", labels).stdout
    assert len(short.splitlines()) == 3
    assert "4 images; --each shows each" in short
    assert len(s2d("evaluate", "--prediction", maps, "--labels", labels, "--each").stdout.splitlines()) == 6


def test_scores_go_by_name_and_channels_too(tmp_path: Path) -> None:
    """In natural order img_10 comes after img_2, and labels in another order than maps."""
    from shallow2deep.io.map_files import write_probabilities
    from shallow2deep.outputs import BOUNDARY, Output

    rng = np.random.default_rng(0)
    for name in ("img", "img_2", "img_10"):
        truth = rng.random((32, 32)) > 0.8
        iio.imwrite(tmp_path / f"{name}_labels.png", truth.astype(np.uint8))
        iio.imwrite(tmp_path / f"{name}_mask.png", np.ones((32, 32), np.uint8))
        p = np.stack([~truth, truth]).astype(np.float32)
        write_probabilities(tmp_path / f"{name}.h5", p, [Output("cell", BOUNDARY), Output("cell")])
    files = ["--prediction", f"{tmp_path}/*.h5", "--labels", f"{tmp_path}/*_labels.png", "--json"]
    for options, dice in (
        ([], 1),
        (["--valid", f"{tmp_path}/*_mask.png"], 1),
        (["--channel", "cell"], 1),
        (["--channel", "1"], 1),
        (["--channel", "cell boundary"], 0),
    ):
        found = s2d("evaluate", *files, *options)
        assert json.loads(found.stdout)["all"]["dice"] == dice, options
        assert "taken in order" not in found.stderr
    wrong = s2d("evaluate", *files, "--channel", "nucleus")
    assert wrong.returncode == 2
    assert "cell boundary, cell" in wrong.stderr


ROWS = [["", "dice"], ["a longer name", "0.500"], ["stage", "stale"], ["m", "two\nlines"]]


def test_columns_are_plain_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS)
    lines = ["               dice", "a longer name  0.500", "stage          stale"]
    assert capsys.readouterr().out.splitlines() == [*lines, "m              two", "               lines"]


def test_columns_are_coloured_and_fit_into_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in {"TERM": "xterm", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_rows([*ROWS, ["wide", "word " * 30 + "/a/long/path" * 9]])
    out = capsys.readouterr().out
    assert "\x1b[33mstale" in out
    assert "…" not in out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in out.splitlines()) <= 40
