"""The engine: finished stages are skipped, stale ones explained, interrupted ones gone on with."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from shallow2deep.io.known import Known
from shallow2deep.runs.control import Control
from shallow2deep.runs.engine import Stage, after, run_stages, state_of
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
