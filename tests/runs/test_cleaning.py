"""What a run has made is removed, and nothing else is."""

import shutil
from pathlib import Path

import pytest
from steered import CONFIG, begin

from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.io.atomic import read_json, write_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.runs import cleaning
from shallow2deep.runs.cleaning import clean, contents
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.folder import execute
from shallow2deep.runs.job import Job


class Failed(Exception):
    pass


def work(job: Job) -> None:
    write_text(job.folder / "result.txt", "result")
    (job.folder / "pool.zarr" / "c").mkdir(parents=True)
    (job.folder / "pool.zarr" / "zarr.json").write_text("{}")
    (job.folder / "tensorboard").mkdir()
    (job.folder / "tensorboard" / "curve").write_text("curve")


def failing(job: Job) -> None:
    work(job)
    (job.folder / ".result.partial-00000000-1-0.txt").write_text("half")
    (job.folder / "checkpoints").mkdir()
    raise Failed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a finished stage, whose result is also shown in the run's folder, and one that failed."""
    folder = tmp_path / "run"
    stages = [Stage("first", {}, {}, work, {"name": "x"}, ("result.txt",)), Stage("second", {}, {}, failing)]
    with pytest.raises(Failed):
        execute(folder, "enhancer-train", CONFIG, lambda config: stages, Known(folder / "known.json"))
    assert (folder / "result.txt").exists()
    return folder


def test_all_that_a_run_has_made_goes(run: Path) -> None:
    assert contents(run).others == []
    assert contents(run).size > 0
    clean(run)
    assert not run.exists()
    assert run.parent.exists()


def test_what_is_not_of_the_run_stays(run: Path) -> None:
    own = [run / "notes.txt", run / "second" / "notes.txt", run / "first" / "more" / "notes.txt"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    (run / "result.txt").write_text("edited")
    assert set(contents(run).others) == {*own[:2], run / "first" / "more", run / "result.txt"}
    clean(run)
    assert {path for path in run.rglob("*") if path.is_file()} == {*own, run / "result.txt"}
    with pytest.raises(InputError, match="no run here"):
        clean(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="no run here"):
            clean(folder)
    assert (tmp_path / "thesis.txt").exists()


def test_a_live_run_is_refused(tmp_path: Path) -> None:
    process = begin(tmp_path / "run")
    try:
        before = {path for path in (tmp_path / "run").rglob("*") if ".partial" not in path.name}
        with pytest.raises(RunBusyError, match="another process works on it"):
            clean(tmp_path / "run")
        assert before <= set((tmp_path / "run").rglob("*"))
    finally:
        process.kill()
        process.wait()
    clean(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["first", "first/pool.zarr", "first/pool.zarr/c", "first/result.txt"])
def test_links_out_of_the_run_are_refused(run: Path, tmp_path: Path, place: str) -> None:
    """Whatever they stand for; what they lead to is untouched."""
    target = shutil.move(run / place, tmp_path / "elsewhere")
    (run / place).symlink_to(target)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is a link out of the run, so nothing is removed"):
        clean(run)
    assert before == sorted(path for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["..", ".", "", "../../precious", "../result.txt"])
def test_a_crafted_manifest_leads_nowhere(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("precious")
    manifest = read_json(run / "first" / "manifest.json")
    manifest["outputs"][name] = "0" * 64
    write_json(run / "first" / "manifest.json", manifest)
    clean(run)
    assert (tmp_path / "precious").exists()
    assert (run / "first" / "result.txt").exists()


def test_killed_while_it_cleans_it_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any of the things that it removes."""
    count = len(contents(run).made)
    removed: list[Path] = []

    def one_by_one(paths: list[Path]) -> None:
        remove(paths[:1])
        removed.extend(paths[:1])
        raise Failed

    remove = cleaning.remove
    monkeypatch.setattr(cleaning, "remove", one_by_one)
    for _ in range(count):
        with pytest.raises(Failed):
            clean(run)
    assert len(set(removed)) == count
    assert [path.name for path in run.rglob("*")] in ([], ["first", "second"], ["second", "first"])
