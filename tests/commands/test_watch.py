"""What a watcher is shown, on a terminal and in a file."""

import io
from pathlib import Path

import pytest
from steered import run_counting

from shallow2deep.commands.watch import watch
from shallow2deep.runs.events import FILE, Events


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_finished_run_is_told_in_a_few_lines(tmp_path: Path) -> None:
    run_counting(tmp_path / "run", 20)
    out = io.StringIO()
    assert watch(tmp_path / "run", out=out).word == "finished"
    assert out.getvalue().splitlines() == [
        f"{tmp_path / 'run'}: finished",
        "enhancer: training 20 of 20, loss 0.050, 0:00:00 left",
        f"{tmp_path / 'run'}: finished",
    ]


def test_a_terminal_has_one_line_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    run_counting(tmp_path / "run", 20)
    out = Terminal()
    watch(tmp_path / "run", out=out)
    assert "\r\x1b[Kenhancer: training 20 of 20, \n" in out.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "progress", "stage": "a", "what": "b", "done": 1, "total": 2, "left_s": Infinity}',
        '{"kind": "progress", "stage": 5, "what": "b", "done": 1, "total": 2}',
        '{"kind": "picture", "stage": "a", "what": "b", "path": ["x"]}',
        '{"kind": "changed", "stage": "a\\u001b[2J"}',
        '{"kind": "refused", "stage": "a"}',
    ],
)
def test_crafted_events_steer_no_terminal(tmp_path: Path, line: str) -> None:
    run_counting(tmp_path / "run", 3)
    with (tmp_path / "run" / FILE).open("a") as file:
        file.write(line + "\n")
    Events(tmp_path / "run").emit("", "stopped", why="\x1b[2Jgone")
    out = io.StringIO()
    assert watch(tmp_path / "run", out=out).word == "interrupted"
    assert "\x1b" not in out.getvalue()
