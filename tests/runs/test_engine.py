"""The engine: finished stages are skipped, stale ones explained, interrupted ones gone on with."""

from pathlib import Path

import pytest

from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage, after, run_stages, state_of


def stage(
    log: list[str], name: str = "one", settings: dict | None = None, inputs: dict | None = None
) -> Stage:
    def work(folder: Path) -> None:
        log.append(name)
        (folder / "result.txt").write_text(f"{name} {settings}")

    return Stage(name, settings or {"steps": 1}, inputs or {"raw": "abc"}, work)


def test_finished_stage_does_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    run_stages(tmp_path, [stage(log)])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").iterdir()}
    run_stages(tmp_path, [stage(log)])
    assert log == ["one"]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "one").iterdir()}
    assert state_of(tmp_path, stage(log)).word == "finished"


def test_changed_setting_is_explained_and_redone_with_what_follows(tmp_path: Path) -> None:
    log: list[str] = []

    def chain(steps: int) -> list[Stage]:
        first = stage(log, settings={"steps": steps, "nested": {"a": [1, 2]}})
        return [first, stage(log, "two", inputs=after(first))]

    run_stages(tmp_path, chain(1))
    first, second = chain(2)
    assert "settings.steps 1 -> 2" in state_of(tmp_path, first).reason
    assert "stage one" in state_of(tmp_path, second).reason
    run_stages(tmp_path, [first, second])
    assert log == ["one", "two", "one", "two"]


def test_changed_input_is_explained(tmp_path: Path) -> None:
    run_stages(tmp_path, [stage([])])
    assert "inputs.raw abc -> xyz" in state_of(tmp_path, stage([], inputs={"raw": "xyz"})).reason


@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_damaged_artifact_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    log: list[str] = []
    run_stages(tmp_path, [stage(log)])
    artifact = tmp_path / "one" / "result.txt"
    artifact.write_text("x") if damage == "alter" else artifact.unlink()
    state = state_of(tmp_path, stage(log))
    assert state.word == "stale"
    assert "one/result.txt" in state.reason
    run_stages(tmp_path, [stage(log)])
    assert log == ["one", "one"]
    assert state_of(tmp_path, stage(log)).word == "finished"


def test_interrupted_work_is_kept_for_the_same_key_only(tmp_path: Path) -> None:
    def failing(folder: Path) -> None:
        (folder / "part.txt").write_text("half")
        raise RuntimeError

    seen = []

    def going_on(folder: Path) -> None:
        seen.append((folder / "part.txt").exists())

    with pytest.raises(RuntimeError):
        run_stages(tmp_path, [Stage("one", {"a": 1}, {}, failing)])
    assert state_of(tmp_path, Stage("one", {"a": 1}, {}, going_on)).word == "interrupted"
    assert state_of(tmp_path, Stage("one", {"a": 2}, {}, going_on)).word == "stale"
    run_stages(tmp_path, [Stage("one", {"a": 1}, {}, going_on)])
    run_stages(tmp_path, [Stage("one", {"a": 2}, {}, going_on)])
    assert seen == [True, False]


def test_half_a_line_in_the_done_log_does_not_count(tmp_path: Path) -> None:
    log = DoneLog(tmp_path / "a" / "done.txt")
    log.add("patch 1")
    with (tmp_path / "a" / "done.txt").open("a") as file:
        file.write("patch 2")
    again = DoneLog(tmp_path / "a" / "done.txt")
    assert "patch 1" in again
    assert "patch 2" not in again
    again.add("patch 3")
    assert (tmp_path / "a" / "done.txt").read_text() == "patch 1\npatch 3\n"
