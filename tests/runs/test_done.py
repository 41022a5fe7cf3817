"""The list of pieces of work that are done."""

import logging
from pathlib import Path

import pytest

from shallow2deep.io.atomic import sha256
from shallow2deep.runs.done import DoneLog


@pytest.fixture
def log(tmp_path: Path) -> DoneLog:
    """With the pieces one and two, which are files."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    log = opened(tmp_path)
    log.add("one")
    log.add("two")
    return log


def opened(folder: Path) -> DoneLog:
    return DoneLog(folder / "unfinished" / "done.txt", lambda name: sha256(folder / name))


def test_half_a_line_does_not_count(log: DoneLog, tmp_path: Path) -> None:
    path = tmp_path / "unfinished" / "done.txt"
    path.write_bytes(path.read_bytes()[:-1])
    again = opened(tmp_path)
    assert ("one" in again, "two" in again) == (True, False)
    again.add("two")
    assert "two" in opened(tmp_path)


@pytest.mark.parametrize("change", ["altered", "gone"])
def test_a_piece_that_has_changed_is_made_again(
    change: str, log: DoneLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").write_text("One") if change == "altered" else (tmp_path / "one").unlink()
    with caplog.at_level(logging.WARNING):
        again = opened(tmp_path)
    assert again.damaged == ["one"]
    assert ("one" in again, "two" in again) == (False, True)
    assert "one is no longer what was written" in caplog.text
    assert not opened(tmp_path).damaged  # it is no longer in the list


def test_a_damaged_list_is_no_proof(log: DoneLog, tmp_path: Path) -> None:
    """Whatever bit flips: a piece counts only where its line and its checksum agree."""
    path = tmp_path / "unfinished" / "done.txt"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x11
        path.write_bytes(damaged)
        again = opened(tmp_path)
        assert {piece for piece in ("one", "two") if piece in again} < {"one", "two"}
