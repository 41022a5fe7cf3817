"""Pseudo-labels, their weights, and the rounds in which they are made anew."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny import Data

from shallow2deep import adapt
from shallow2deep.io.volumes import open_volume


def test_strokes_and_held_out_strokes_are_apart(whole: Path, data: Data) -> None:
    choice = json.loads((whole / "prediction" / "choice.json").read_text())
    drawn = [open_volume(f"{data.folder}/target{n}_strokes.png").read() for n in range(4)]
    assert choice["used_pixels"] + choice["held_out_pixels"] == sum(np.count_nonzero(s) for s in drawn)
    assert all(count >= 1 for count in choice["held_out_strokes"].values())
    pool = zarr.open_group(whole / "pseudo_labels" / "pool.zarr", mode="r")
    layers = [np.asarray(pool[str(n)]) for n in range(4)]
    assert sum(np.count_nonzero(part[-1]) for part in layers) == choice["used_pixels"]
    for part in layers:  # under strokes pseudo-labels weigh nothing
        assert (part[-2][part[-1] > 0] == 0).all()
        assert part[-2].max() <= 1


def test_round_without_gain_ends_the_rounds(
    whole: Path, data: Data, source_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("shallow2deep.stages.pseudo_labels.mean_accuracy", lambda shares: 0.5)
    run = tmp_path / "run"
    adapt(data.with_segmentor(source_run, rounds=3), run)
    for number in (2, 3):
        assert (run / f"segmentor-plain-{number}" / "skipped.json").is_file()
    choice = json.loads((run / "prediction" / "choice.json").read_text())
    assert set(choice["scores"]) == {"target_forest", "enhanced", "segmentor-plain"}


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": {"use": "none"}},
        {"confidence": {"use": "mask", "threshold": 0.6, "forests": 2, "flips": False}},
        {"alignment": 1.0, "stroke_weight": 3.0},
    ],
)
def test_settings_of_pseudo_labels(
    whole: Path, data: Data, source_run: Path, tmp_path: Path, settings: dict
) -> None:
    run = tmp_path / "run"
    adapt(data.with_segmentor(source_run, **settings), run)
    changed = open_volume(run / "segmentor-plain" / "target0_raw.h5").read()
    assert not np.array_equal(changed, open_volume(whole / "segmentor-plain" / "target0_raw.h5").read())
