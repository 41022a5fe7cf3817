"""Events: whole lines from one writer, for any number of readers."""

import json
import math
import threading
from pathlib import Path

import pytest

from shallow2deep.runs.events import FILE, BarReader, Events, last_event, read_events
from shallow2deep.runs.job import Job


def kinds(run: Path) -> list[str]:
    return [event["kind"] for _, event in read_events(run / FILE)]


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.emit("forests", "begun")
    events.progress("forests", "forests", 0, 2)
    events.progress("forests", "forests", 2, 2, loss=0.25, score=math.nan)
    events.emit("forests", "done")
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begun", "progress", "progress", "done"]
    assert lines[2]["loss"] == 0.25
    assert "score" not in lines[2]
    assert lines[2]["left_s"] == 0
    assert (lines[2]["stage"], lines[2]["what"], lines[2]["done"], lines[2]["total"]) == (
        "forests", "forests", 2, 2,
    )  # fmt: skip


def test_frequent_progress_is_told_to_readers_but_not_all_written(tmp_path: Path) -> None:
    heard: list[int] = []
    events = Events(tmp_path, [lambda event: heard.append(event["done"])])
    for step in range(1001):
        events.progress("enhancer", "training", step, 1000)
    assert heard == list(range(1001))
    written = [event["done"] for _, event in read_events(tmp_path / FILE)]
    assert written[-1] == 1000
    assert len(written) < 20


def test_a_reader_never_sees_half_a_line(tmp_path: Path) -> None:
    """A writer at work, and a reader that goes on from where it was."""
    events, stop = Events(tmp_path), threading.Event()

    def write() -> None:
        for number in range(2000):
            events.emit("stage", "begun", number=number, text="x" * (number % 300))
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen, position = [], 0
    while not stop.is_set() or len(seen) < 2000:
        for end, event in read_events(tmp_path / FILE, position):
            seen.append(event["number"])
            position = end
    writer.join()
    assert seen == list(range(2000))


def test_half_a_line_of_a_killed_writer_is_dropped_by_the_next(tmp_path: Path) -> None:
    Events(tmp_path).emit("a", "begun")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"kind": "prog')
    assert kinds(tmp_path) == ["begun"]
    Events(tmp_path).emit("a", "done")
    assert kinds(tmp_path) == ["begun", "done"]
    assert last_event(tmp_path)["kind"] == "done"  # type: ignore[index]


@pytest.mark.parametrize("line", ["no json\n", "[]\n", "\n"])
def test_what_is_no_event_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line)
    Events(tmp_path).emit("a", "begun")
    assert kinds(tmp_path) == ["begun"]


def test_a_job_tells_of_its_stage(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    heard: list[dict] = []
    events = Events(tmp_path, [BarReader(), lambda event: heard.append(dict(event))])
    job = Job(tmp_path / "enhancer", events=events)
    job.progress("training", 1, 2, loss=0.5)
    job.picture("a sample", tmp_path / "sample.png")
    assert [(event["stage"], event["kind"]) for event in heard] == [
        ("enhancer", "progress"), ("enhancer", "picture"),
    ]  # fmt: skip
    assert job.run == tmp_path
    assert "training" in capsys.readouterr().err


def test_no_events_of_a_run_that_has_none(tmp_path: Path) -> None:
    assert last_event(tmp_path) is None
    assert list(read_events(tmp_path / FILE)) == []
