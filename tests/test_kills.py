"""Killed at every write and at any time, and called again, a run ends with the bytes of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import Data, artifacts

KILLING = Path(__file__).with_name("killing.py")
RANDOM = int(os.environ.get("S2D_KILLS", "20"))


def killed(data: Data, run: Path, enhancer: Path | None, mode: str, count: int = RANDOM) -> list[str]:
    """Where the run was killed until it was through."""
    command = [sys.executable, KILLING, data.folder, run, enhancer or "-", mode, count]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-4000:]
    kills: list[str] = json.loads(found.stdout)
    return kills


def left_overs(run: Path) -> list[Path]:
    names = {"begun.json", "unfinished", "checkpoints"}
    return [p for p in run.rglob("*") if p.name in names or ".partial" in p.name or p.name.endswith(".stale")]


def require_equal(run: Path, whole: Path) -> None:
    found, expected = artifacts(run), artifacts(whole)
    assert found.keys() == expected.keys()
    assert [name for name, content in found.items() if content != expected[name]] == []
    assert left_overs(run) == []


@pytest.mark.slow
def test_enhancer_train_killed_at_every_write(data: Data, source_run: Path, tmp_path: Path) -> None:
    kills = killed(data, tmp_path / "run", None, "named")
    assert len(kills) == len(set(kills)) > 100
    require_equal(tmp_path / "run", source_run)


@pytest.mark.parametrize("count", [3, pytest.param(RANDOM, marks=pytest.mark.slow)])
def test_enhancer_train_killed_at_random_times(
    data: Data, source_run: Path, tmp_path: Path, count: int
) -> None:
    assert len(killed(data, tmp_path / "run", None, "random", count)) == count
    require_equal(tmp_path / "run", source_run)


@pytest.fixture(scope="module")
def compared(data: Data, source_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of adapt with a segmentor and all baselines."""
    from shallow2deep import adapt

    run = tmp_path_factory.mktemp("compared") / "run"
    adapt(data.with_segmentor(source_run, compared=True), run)
    return run


@pytest.mark.slow
def test_adapt_killed_at_every_write(data: Data, source_run: Path, compared: Path, tmp_path: Path) -> None:
    kills = killed(data, tmp_path / "run", source_run, "named")
    assert len(kills) == len(set(kills)) > 100
    require_equal(tmp_path / "run", compared)


@pytest.mark.slow
def test_adapt_killed_at_random_times(data: Data, source_run: Path, compared: Path, tmp_path: Path) -> None:
    assert len(killed(data, tmp_path / "run", source_run, "random")) == RANDOM
    require_equal(tmp_path / "run", compared)
