"""A finished adaptation with all there is."""

from pathlib import Path

import pytest
from tiny import VARIANTS, Data


@pytest.fixture(scope="session")
def whole(data: Data, source_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every variant of the segmentor in two rounds, and all baselines."""
    from shallow2deep import adapt

    run = tmp_path_factory.mktemp("whole") / "run"
    adapt(data.with_segmentor(source_run, compared=True, variants=VARIANTS, rounds=2), run)
    return run
