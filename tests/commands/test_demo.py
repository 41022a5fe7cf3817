"""The demonstration shows what it is meant to show."""

from pathlib import Path

import pytest

from shallow2deep.commands.demo import run_demo


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo")
    assert result.scores["enhanced"]["dice"] > result.scores["forest"]["dice"] + 0.05
    assert all(place.exists() for place in result.places.values())
