"""Scores of maps in files."""

from pathlib import Path

import numpy as np
import pytest
from tiny import Data

from shallow2deep.commands.evaluate import evaluate
from shallow2deep.errors import InputError
from shallow2deep.settings import RawData


def test_scores_of_files(data: Data, target_run: Path) -> None:
    maps = RawData(raw=(f"{target_run}/target_forest/*.h5",))
    scores = evaluate(maps, RawData(raw=(f"{data.folder}/target*_labels.png",)))
    assert len(scores) == 5
    assert scores["all"]["dice"] > 0.3


def test_two_structures_are_not_scored_unasked(tmp_path: Path) -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 1
    for name, maps in (("classes", [1 - truth, truth]), ("structures", [truth, 0 * truth])):
        np.save(tmp_path / f"{name}.npy", np.stack(maps).astype(np.float32))
    np.save(tmp_path / "truth.npy", truth)

    def dice(name: str, channel: int | None = None) -> float:
        predicted = RawData(raw=(str(tmp_path / f"{name}.npy"),), axes="cyx")
        return evaluate(predicted, RawData(raw=(str(tmp_path / "truth.npy"),)), channel=channel)["all"][
            "dice"
        ]

    assert dice("classes") == dice("structures", 0) == 1
    with pytest.raises(InputError, match="two structures"):
        dice("structures")
