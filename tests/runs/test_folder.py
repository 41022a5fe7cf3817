"""Run folders: one process at a time, and nothing of others is touched."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from tiny import Data

from shallow2deep import adapt, enhancer_train
from shallow2deep.errors import InputError, RunBusyError


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
