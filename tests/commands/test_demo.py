"""The demonstration shows what it is meant to show."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from shallow2deep.cli import app
from shallow2deep.commands import demo
from shallow2deep.commands.demo import DemoResult, run_demo
from shallow2deep.evaluation.metrics import PooledScore


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo")
    assert result.scores["enhanced"]["dice"] > result.scores["forest"]["dice"] + 0.05
    assert all(place.exists() for place in result.places.values())


def test_its_scores_are_printed_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = PooledScore()
    pooled.add(np.array([[0.9, 0.2]], np.float32), np.array([[True, False]]))
    scores = {"forest": pooled.scores, "enhanced": pooled.scores}
    monkeypatch.setattr(demo, "run_demo", lambda out: DemoResult(scores, {"panel": out / "panel.png"}))
    found = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert found.exception is None
    rows = [line.split() for line in found.stdout.splitlines()]
    assert rows[0][:2] == ["dice", "iou"]
    assert [row[:2] for row in rows[1:3]] == [["forest", "1.000"], ["enhanced", "1.000"]]
    assert "panel.png" in found.stdout
