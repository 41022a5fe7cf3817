"""The stage that cuts the recommended maps into objects."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import Data, artifacts

from shallow2deep import adapt, find_objects, status
from shallow2deep.errors import SettingsError
from shallow2deep.io.volumes import open_volume
from shallow2deep.stages import objects


@pytest.fixture(scope="module")
def run(data: Data, source_run: Path, target_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `target_run`, with objects in addition."""
    run = shutil.copytree(target_run, tmp_path_factory.mktemp("objects") / "run")
    adapt(data.target(source_run, objects={"min_size": 10}), run)
    return run


def test_labels_and_tables_of_the_recommended_maps(run: Path, tmp_path: Path) -> None:
    summary = json.loads((run / "objects" / "objects.json").read_text())
    assert summary["class"] == "disc"
    with (run / "objects" / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for n in range(4):
        p = open_volume(run / "prediction" / f"target{n}_raw.h5").read()[1]
        labels = open_volume(run / "objects" / f"target{n}_raw_objects.tif").read()
        own = [row for row in rows if row["image"] == f"target{n}_raw"]
        assert len(own) == labels.max()
        assert (p[labels > 0] > summary["threshold"]).mean() > 0.9
        for row in own:
            assert int(float(row["area_px"])) == (labels == int(row["label"])).sum() >= 10
    assert {"raw_mean", "map_mean"} <= set(rows[0]) if rows else True
    find_objects(run, tmp_path / "again")  # by the run's own settings
    for path in (run / "objects").glob("*.tif"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_it_stands_in_status_and_in_the_report(run: Path, data: Data, source_run: Path) -> None:
    states = status(run).stages
    assert list(states)[-3:] == ["prediction", "objects", "report"]
    assert {state.word for state in states.values()} == {"finished"}
    assert "objects" in (run / "settings.yaml").read_text()
    settings = run / "settings.yaml"
    before = settings.read_text()
    settings.write_text(before.replace("min_size: 10.0", "min_size: 30.0"))
    states = status(run).stages
    assert (states["prediction"].word, states["objects"].word) == ("finished", "stale")
    assert "min_size 10.0 -> 30.0" in states["objects"].reason
    settings.write_text(before)


def test_ended_between_images_it_goes_on_to_the_same_bytes(
    run: Path,
    data: Data,
    source_run: Path,
    target_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By an error; `test_kills.py` kills it."""
    config, copy = data.target(source_run, objects={"min_size": 10}), tmp_path / "run"
    shutil.copytree(target_run, copy)
    written, saved = objects.save_objects, []

    def save(folder: Path, name: str, *rest: object) -> None:
        if len(saved) in (1, 3):
            saved.append("")
            raise RuntimeError("the end")
        saved.append(name)
        written(folder, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "save_objects", save)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the end"):
            adapt(config, copy)
        assert status(copy).stages["objects"].word == "interrupted"
    (copy / "objects" / "target0_raw_objects.tif").unlink()  # half of what belongs to an image is none of it
    adapt(config, copy)
    assert [name for name in saved if name] == [f"target{n}_raw" for n in (0, 1, 0, 2, 3)]
    assert artifacts(copy) == artifacts(run)


def test_a_class_must_be_named_where_there_are_several(data: Data, source_run: Path) -> None:
    classes = ["background", "disc", "rod"]
    for objects_ in ({}, {"channel": "worm"}):
        with pytest.raises(SettingsError, match="one of disc, rod"):
            data.target(source_run, classes=classes, objects=objects_)
    assert data.target(source_run, classes=classes, objects={"channel": "rod"}).objects is not None
    np.testing.assert_equal(data.target(source_run, objects={}).objects.channel, None)
