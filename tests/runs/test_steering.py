"""Runs in other processes: watched, paused, resumed, aborted, killed on either side, and copied meanwhile."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import psutil
import pytest
from steered import begin, run_counting

from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.runs import worker
from shallow2deep.runs.changes import made, refused, waiting, want
from shallow2deep.runs.control import request, requested
from shallow2deep.runs.events import latest
from shallow2deep.runs.following import follow
from shallow2deep.runs.standing import standing
from shallow2deep.runs.steering import abort, pause, resume, wait_until
from shallow2deep.runs.worker import named_worker, worker_at


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def counting(run: Path) -> Iterator[Popen]:
    """A process that counts for longer than any test."""
    process = begin(run)
    yield process
    process.kill()
    process.wait()


def kill(process: Popen) -> None:
    process.kill()
    process.wait()


def test_a_live_run_says_so(run: Path, counting: Popen) -> None:
    found = standing(run)
    assert found.word == "running"
    assert found.worker is not None
    assert found.worker.pid == counting.pid
    assert str(found).startswith(f"running (process {counting.pid} on ")


def test_paused_it_waits_and_resumed_it_goes_on(run: Path, counting: Popen) -> None:
    assert pause(run).word == "paused"
    saved = read_json(run / "enhancer" / "checkpoints" / "count.json")
    _, before = latest(run)
    time.sleep(0.5)
    assert latest(run)[1] == before
    assert pause(run).word == "paused"  # again
    assert resume(run).word == "running"  # type: ignore[union-attr]
    wait_until(run, lambda now: bool(now.last and now.last.get("done", 0) > saved), 10)
    done = [event["done"] for event in latest(run)[1] if event["kind"] == "progress"]
    assert done[-1] > saved
    assert counting.poll() is None


def test_killed_while_paused_it_stays_paused_until_it_is_resumed(run: Path, counting: Popen) -> None:
    pause(run)
    kill(counting)
    found = standing(run)
    assert (found.word, found.worker) == ("paused", None)
    assert "it is gone" in found.why
    again = begin(run)
    try:
        assert wait_until(run, lambda now: now.word == "paused", 10).worker is not None
        assert resume(run).word == "running"  # type: ignore[union-attr]
    finally:
        kill(again)
    assert standing(run).word == "interrupted"


def test_aborted_it_ends_and_keeps_its_checkpoint(run: Path, counting: Popen) -> None:
    found = abort(run)
    assert (found.word, found.worker) == ("aborted", None)
    assert counting.wait(10) == 4
    assert (run / "enhancer" / "checkpoints" / "count.json").exists()
    assert abort(run, discard=True).word == "aborted"
    assert not (run / "enhancer").exists()


def test_a_paused_run_can_be_aborted(run: Path, counting: Popen) -> None:
    pause(run)
    assert abort(run).word == "aborted"
    assert counting.wait(10) == 4


def test_what_is_not_at_work_cannot_be_paused(run: Path, counting: Popen) -> None:
    kill(counting)
    with pytest.raises(InputError, match="it is interrupted"):
        pause(run)
    for steer in (pause, resume, abort):
        with pytest.raises(InputError, match="no run here"):
            steer(run.parent)


def test_two_controllers_at_once(run: Path, counting: Popen) -> None:
    """Whatever the order of their requests is, what is being given up is given up."""
    errors: list[Exception] = []

    def pausing() -> None:
        for _ in range(20):
            try:
                request(run, "pause")
            except RunBusyError as error:
                errors.append(error)

    others = [threading.Thread(target=pausing) for _ in range(3)]
    for other in others:
        other.start()
    request(run, "abort")
    for other in others:
        other.join()
    assert requested(run) == "abort"
    assert counting.wait(10) == 4
    assert all("being given up" in str(error) for error in errors)


def test_a_second_process_is_refused_by_name(run: Path, counting: Popen) -> None:
    with pytest.raises(RunBusyError, match=rf"another process works on it now \(process {counting.pid} on"):
        run_counting(run)
    assert begin(run).wait(30) == 3


def test_a_finished_run_stays_so(run: Path) -> None:
    run_counting(run, 3)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert resume(run).word == "finished"  # type: ignore[union-attr]
    assert abort(run).word == "finished"
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(InputError, match="it is finished"):
        pause(run)


def test_a_follower_sees_all_and_ends_with_the_run(run: Path) -> None:
    """It may come before the run; it is not at its end before the last event."""
    seen: list[str] = []

    def following() -> None:
        seen.extend(event["kind"] for events in follow(run, 20) for event in events)

    follower = threading.Thread(target=following)
    follower.start()
    assert begin(run, 50).wait(30) == 0
    follower.join(20)
    assert not follower.is_alive()
    assert [kind for kind in seen if kind != "progress"] == ["started", "begun", "done", "finished"]


def test_a_follower_of_a_killed_run_ends(run: Path, counting: Popen) -> None:
    events = follow(run)
    next(events)
    kill(counting)
    began = time.monotonic()
    assert list(events)[-1:] != [[]]
    assert time.monotonic() - began < 10
    assert standing(run).word == "interrupted"


def test_no_run_to_follow(run: Path) -> None:
    with pytest.raises(InputError, match=r"none has begun in 0.5 s"):
        list(follow(run, 0.5))


def test_a_change_is_recorded_and_the_run_goes_on_with_it(run: Path, counting: Popen) -> None:
    want(run, "enhancer", {"learning_rate": 1e-4})
    wait_until(run, lambda now: not waiting(run), 10)
    (change,) = made(run)
    assert change.values == {"learning_rate": 1e-4}
    wait_until(run, lambda now: bool(now.last and now.last.get("done", 0) > change.step), 10)
    events = latest(run)[1]
    assert [event["step"] for event in events if event["kind"] == "changed"] == [change.step]
    after = [
        event["done"] for event in events[[e["kind"] for e in events].index("changed") :] if "done" in event
    ]
    assert all(done > change.step for done in after)
    want(run, "enhancer", {"steps": 1})
    wait_until(run, lambda now: not waiting(run), 10)
    assert made(run) == (change,)
    assert "1 steps were asked for when" in refused(run, "enhancer")
    kill(counting)
    settings = (run / "settings.yaml").read_text()
    assert "learning_rate: 0.0001" in settings


def test_a_copy_of_a_live_run_is_free(run: Path, counting: Popen) -> None:
    """Its lock names a process that is alive, but works elsewhere."""
    copy = shutil.copytree(run, run.with_name("copy"))
    assert named_worker(copy) is not None
    found = standing(copy)
    assert found.word == "interrupted"
    assert f"it works on {run}, of which this is a copy" in found.why
    pause(run)
    assert standing(copy).word == "interrupted"
    run_counting(copy, 3)
    assert standing(copy).word == "finished"
    assert standing(run).word == "paused"


def test_a_run_that_is_moved_while_it_works_is_still_at_work(run: Path, counting: Popen) -> None:
    moved = run.rename(run.with_name("moved"))
    assert worker_at(moved) is not None


def test_a_number_that_was_given_anew_does_not_mislead(run: Path, counting: Popen) -> None:
    kill(counting)
    said = read_json(run / worker.FILE)
    stranger = psutil.Process(os.getppid())
    write_json(run / worker.FILE, said | {"pid": stranger.pid})
    assert worker_at(run) is None
    assert "it is gone" in standing(run).why
    write_json(run / worker.FILE, said | {"pid": stranger.pid, "started": stranger.create_time()})
    assert worker_at(run) is not None


def test_a_process_on_another_computer_is_known_by_its_signs_of_life(run: Path, counting: Popen) -> None:
    kill(counting)
    said = read_json(run / worker.FILE)
    write_json(run / worker.FILE, said | {"place": "ffffffff", "host": "node7"})
    assert standing(run).word == "running"
    with pytest.raises(RunBusyError, match=r"on node7, .*if that was killed, try again in two minutes"):
        run_counting(run, 3)
    past = time.time() - 300
    os.utime(run / worker.FILE, (past, past))
    assert "it has given no sign of life for 5 min" in standing(run).why
    run_counting(run, 3)
    assert standing(run).word == "finished"


def test_signs_of_life_are_given(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.mkdir()
    monkeypatch.setattr(worker, "_BEAT", 0.05)
    with worker.at_work(run):
        os.utime(run / worker.FILE, (0, 0))
        time.sleep(0.5)
        assert time.time() - (run / worker.FILE).stat().st_mtime < 60
    assert not (run / worker.FILE).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', '{"host": 5}'])
def test_a_damaged_name_blocks_nothing(run: Path, content: str) -> None:
    run.mkdir()
    (run / worker.FILE).write_text(content)
    run_counting(run, 3)
    assert standing(run).word == "finished"


def test_sigterm_ends_a_paused_run(run: Path, counting: Popen) -> None:
    pause(run)
    counting.send_signal(signal.SIGTERM)
    assert counting.wait(10) == 143
    assert standing(run).word == "paused"
