"""The list of pieces of work that are done."""

from pathlib import Path

from shallow2deep.runs.done import DoneLog


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
