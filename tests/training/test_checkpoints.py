"""Checkpoints: the last two are kept, a damaged one falls back, and none runs code."""

import logging
import os
from pathlib import Path

import pytest
import torch

from shallow2deep.training.checkpoints import load_checkpoint, save_checkpoint


def test_last_two_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none") is None
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.full((3,), float(step))})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000002.pt", "step_000000010.pt"]
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 10


@pytest.mark.parametrize("kept", [0, 10, 500, 0.5, 0.99])
def test_damaged_one_falls_back_loudly(tmp_path: Path, kept: float, caplog: pytest.LogCaptureFixture) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.zeros(1000)})
    newest = tmp_path / "step_000000002.pt"
    size = newest.stat().st_size
    os.truncate(newest, kept if isinstance(kept, int) else int(size * kept))
    with caplog.at_level(logging.WARNING):
        state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1
    assert "damaged" in caplog.text


@pytest.mark.parametrize("place", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_flipped_bit_is_noticed(tmp_path: Path, place: float, caplog: pytest.LogCaptureFixture) -> None:
    """Also where torch would read other weights without a word."""
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.zeros(1000)})
    newest = tmp_path / "step_000000002.pt"
    damaged = bytearray(newest.read_bytes())
    damaged[int(place * len(damaged))] ^= 0x40
    newest.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1
    assert "step_000000002.pt is damaged" in caplog.text


def test_one_without_a_checksum_does_not_count(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "step_000000001.pt")
    assert load_checkpoint(tmp_path) is None


class Malicious:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("evil",))


def test_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Malicious()}, tmp_path / "step_000000001.pt")
    assert load_checkpoint(tmp_path) is None
    assert not (tmp_path / "evil").exists()
