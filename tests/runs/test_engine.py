"""The engine: finished stages are skipped, stale ones explained, interrupted ones gone on with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shallow2deep.io.atomic import read_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.runs.control import Control
from shallow2deep.runs.engine import Stage, after, chain_fault, minutes_of, run_stages, state_of
from shallow2deep.runs.events import Events
from shallow2deep.runs.job import Job


def run(folder: Path, stages: Sequence[Stage]) -> None:
    run_stages(folder, stages, Control(), Events(), Known())


def stage(
    log: list[str], name: str = "one", settings: dict | None = None, inputs: dict | None = None
) -> Stage:
    def work(job: Job) -> None:
        log.append(name)
        (job.folder / "result.txt").write_text(f"{name} {settings}")

    return Stage(name, settings or {"steps": 1}, inputs or {"raw": "abc"}, work)


def test_finished_stage_does_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    run(tmp_path, [stage(log)])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").iterdir()}
    run(tmp_path, [stage(log)])
    assert log == ["one"]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "one").iterdir()}
    assert state_of(tmp_path, stage(log)).word == "finished"


def test_changed_setting_is_explained_and_redone_with_what_follows(tmp_path: Path) -> None:
    log: list[str] = []

    def chain(steps: int) -> list[Stage]:
        first = stage(log, settings={"steps": steps, "nested": {"a": [1, 2]}})
        return [first, stage(log, "two", inputs=after(first))]

    run(tmp_path, chain(1))
    first, second = chain(2)
    assert "settings.steps 1 -> 2" in state_of(tmp_path, first).reason
    assert "stage one" in state_of(tmp_path, second).reason
    run(tmp_path, [first, second])
    assert log == ["one", "two", "one", "two"]


def test_changed_input_is_explained(tmp_path: Path) -> None:
    run(tmp_path, [stage([])])
    assert "inputs.raw abc -> xyz" in state_of(tmp_path, stage([], inputs={"raw": "xyz"})).reason


@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_damaged_artifact_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    log: list[str] = []
    run(tmp_path, [stage(log)])
    artifact = tmp_path / "one" / "result.txt"
    artifact.write_text("x") if damage == "alter" else artifact.unlink()
    state = state_of(tmp_path, stage(log))
    assert state.word == "stale"
    assert "one/result.txt" in state.reason
    run(tmp_path, [stage(log)])
    assert log == ["one", "one"]
    assert state_of(tmp_path, stage(log)).word == "finished"


def test_interrupted_work_is_kept_for_the_same_key_only(tmp_path: Path) -> None:
    def failing(job: Job) -> None:
        (job.folder / "part.txt").write_text("half")
        raise RuntimeError

    seen = []

    def going_on(job: Job) -> None:
        seen.append((job.folder / "part.txt").exists())

    with pytest.raises(RuntimeError):
        run(tmp_path, [Stage("one", {"a": 1}, {}, failing)])
    assert state_of(tmp_path, Stage("one", {"a": 1}, {}, going_on)).word == "interrupted"
    assert state_of(tmp_path, Stage("one", {"a": 2}, {}, going_on)).word == "stale"
    run(tmp_path, [Stage("one", {"a": 1}, {}, going_on)])
    run(tmp_path, [Stage("one", {"a": 2}, {}, going_on)])
    assert seen == [True, False]


def test_changes_by_hand_belong_to_a_result_but_not_to_what_was_begun(tmp_path: Path) -> None:
    plain = stage([])
    changed = replace(plain, changes=[{"step": 3, "steps": 5}])
    assert plain.key == plain.begun["key"] == changed.begun["key"] != changed.key

    def failing(job: Job) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(tmp_path, [replace(plain, work=failing)])
    assert state_of(tmp_path, changed).word == "interrupted"
    run(tmp_path, [changed])
    assert state_of(tmp_path, changed).word == "finished"
    assert "settings.changes [{'step': 3, 'steps': 5}] -> None" in state_of(tmp_path, plain).reason
    assert chain_fault(tmp_path, ["one"], Known()) is None


class Killed(BaseException):
    """As if the process was killed: nothing is cleaned up."""


def kill_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the process die when a path of that name is about to be renamed, or to be removed for good."""

    def dying(method: str) -> Callable[..., Any]:
        original = getattr(Path, method)

        def died(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.name.startswith(name) and not options:
                monkeypatch.setattr("shallow2deep.io.atomic._remove", lambda path: None)
                raise Killed
            return original(path, *arguments, **options)

        return died

    monkeypatch.setattr(Path, "replace", dying("replace"))
    monkeypatch.setattr(Path, "unlink", dying("unlink"))


def files_in(run: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    return {name: content for name, content in files.items() if name != "minutes.json"}


@pytest.mark.parametrize("name", [".result.partial", ".manifest.partial", ".metadata.partial", "begun.json"])
def test_a_kill_at_any_write_leaves_nothing_behind(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    def work(job: Job) -> None:
        log.append("worked")
        (job.folder / "checkpoints").mkdir(exist_ok=True)
        (job.folder / "pool.zarr").mkdir(exist_ok=True)
        (job.folder / "pool.zarr" / "0").write_text("chunk")
        if not (job.folder / "result.txt").exists():
            (job.folder / "pool.zarr" / f"0.{'ab' * 16}.partial").write_text("half a chunk")
            write_text(job.folder / "result.txt", "result")

    one = Stage("one", {}, {}, work, {"name": "a result"})
    run(tmp_path / "whole", [one])
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(name, patched)
        run(tmp_path / "killed", [one])
    run(tmp_path / "killed", [one])
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "whole")
    done = len(log)
    run(tmp_path / "killed", [one])
    assert len(log) == done
    assert state_of(tmp_path / "killed", one).word == "finished"


def test_left_overs_are_no_outputs(tmp_path: Path) -> None:
    def work(job: Job) -> None:
        (job.folder / ".manifest.partial.json").write_text("{")

    one = Stage("one", {}, {}, work)
    run(tmp_path, [one])
    assert read_json(tmp_path / "one" / "manifest.json")["outputs"] == {}
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["manifest.json"]
    assert state_of(tmp_path, one).word == "finished"


def test_an_artifact_that_changed_in_an_interruption_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []

    def work(job: Job) -> None:
        for name in ("a.txt", "b.txt"):
            if not (job.folder / name).exists():
                made.append(name)
                write_text(job.folder / name, name)
        if len(made) == 2:
            raise RuntimeError

    one = Stage("one", {}, {}, work)
    with pytest.raises(RuntimeError):
        run(tmp_path, [one])
    (tmp_path / "one" / "a.txt").write_text("A.txt")
    run(tmp_path, [one])
    assert made == ["a.txt", "b.txt", "a.txt"]
    assert (tmp_path / "one" / "a.txt").read_text() == "a.txt"
    assert "a.txt is no longer what was written" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": 5}, {"outputs": {"result.txt": 5}}, {"outputs": {"../../etc/passwd": "0"}}, {"inputs": 5},
        {"inputs": {"stage a": []}}, {"key": []}, {"settings": 5}, {"outputs": {"a\0b": "0"}}, None,
    ],
)  # fmt: skip
def test_a_damaged_manifest_makes_a_stage_stale(tmp_path: Path, change: dict | None) -> None:
    log: list[str] = []
    run(tmp_path, [stage(log)])
    path = tmp_path / "one" / "manifest.json"
    path.write_text("[" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert state_of(tmp_path, stage(log)).word == "stale"
    assert chain_fault(tmp_path, ["one"], Known()) is not None
    run(tmp_path, [stage(log)])
    assert log == ["one", "one"]


@pytest.mark.parametrize("content", ["[]", "5", "{", '{"one": 5}', '{"one": {"wall": "x", "cpu": 1}}'])
def test_damaged_minutes_block_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "minutes.json").write_text(content)
    assert minutes_of(tmp_path) == {}
    run(tmp_path, [stage([])])
    assert minutes_of(tmp_path).keys() == {"one"}
