"""What status says of a run whose data have changed."""

import shutil
from pathlib import Path

from tiny import Data

from shallow2deep import adapt
from shallow2deep.commands.status import status


def test_status_explains_changed_data(data: Data, source_run: Path, target_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data.folder, tmp_path / "data")
    run = tmp_path / "run"
    adapt(Data(folder).target(source_run), run)
    shutil.copy(folder / "target1_strokes.png", folder / "target0_strokes.png")
    found = status(run)
    assert found.stages["target_forest"].word == "stale"
    assert "strokes" in found.stages["target_forest"].reason
    assert "target_forest" in found.stages["enhanced"].reason
