"""Predicting further images with what runs have made."""

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import SIZE, Data

from shallow2deep import adapt, predict
from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.inference import forest_maps
from shallow2deep.io.atomic import one_writer
from shallow2deep.io.volumes import open_volume
from shallow2deep.progress import Bar
from shallow2deep.settings import RawData


def test_prediction_of_the_same_images_is_the_same(data: Data, target_run: Path, tmp_path: Path) -> None:
    names = f"{data.folder}/target*_raw.png"
    for step, stage in (("forest", "target_forest"), ("enhanced", "enhanced")):
        for path in predict(target_run, names, tmp_path / step, step):
            np.testing.assert_array_equal(
                open_volume(path).read(), open_volume(target_run / stage / path.name).read()
            )


def test_source_net_predicts_raw(data: Data, source_run: Path, tmp_path: Path) -> None:
    out = predict(source_run / "source_net", f"{data.folder}/target0_raw.png", tmp_path / "p.tif")
    assert open_volume(out[0]).read().squeeze().shape == (SIZE, SIZE)


def test_predict_does_not_overwrite_raw(target_run: Path, data: Data, tmp_path: Path) -> None:
    raw = tmp_path / "raw.tif"
    iio.imwrite(raw, iio.imread(data.folder / "target0_raw.png"))
    before = raw.read_bytes()
    with pytest.raises(InputError, match="overwrite"):
        predict(target_run, str(raw), raw)
    assert raw.read_bytes() == before


@pytest.mark.parametrize("name", ["map.png", "map.npy"])
def test_predict_writes_no_other_formats(name: str, target_run: Path, data: Data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="written as"):
        predict(target_run, str(data.folder / "target0_raw.png"), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_names_may_have_been_relative_to_where_adapt_was_called(
    data: Data, source_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a library call has them; the run has its own copy of the enhancer."""
    monkeypatch.chdir(source_run.parent)
    adapt(data.target(Path("../") / source_run.parent.name / "source"), tmp_path / "run")
    (written,) = predict(tmp_path / "run", f"{data.folder}/target0_raw.png", tmp_path / "p.h5")
    assert open_volume(written).shape[1:] == (SIZE, SIZE)


def test_the_device_of_the_adaptation_may_be_elsewhere(target_run: Path, data: Data, tmp_path: Path) -> None:
    run = shutil.copytree(target_run, tmp_path / "run")
    settings = run / "settings.yaml"
    settings.write_text(settings.read_text().replace("device: cpu", "device: cuda:99"))
    (written,) = predict(run, f"{data.folder}/target0_raw.png", tmp_path / "p.h5", device="cpu")
    assert open_volume(written).shape[1:] == (SIZE, SIZE)


def test_the_table_that_chose_the_images_may_be_gone(data: Data, source_run: Path, tmp_path: Path) -> None:
    table, names = tmp_path / "table.csv", [f"{data.folder}/target{n}" for n in range(2)]
    table.write_text("stem\ntarget0\ntarget1\n")
    target = {
        "raw": f"{data.folder}/target*_raw.png",
        "strokes": [f"{name}_strokes.png" for name in names],
        "manifest": {"file": str(table)},
    }
    adapt(data.target(source_run, target=target), tmp_path / "run")
    table.unlink()
    (written,) = predict(tmp_path / "run", f"{names[0]}_raw.png", tmp_path / "p.h5")
    assert open_volume(written).shape[1:] == (SIZE, SIZE)


def test_the_weights_that_a_segmentor_started_from_may_be_gone(
    data: Data, source_run: Path, tmp_path: Path
) -> None:
    adapt(data.with_segmentor(source_run), tmp_path / "first")
    start = shutil.copytree(tmp_path / "first" / "segmentor-plain", tmp_path / "start")
    adapt(data.with_segmentor(source_run, weights=str(start)), tmp_path / "run")
    shutil.rmtree(start)
    raw = f"{data.folder}/target0_raw.png"
    (written,) = predict(tmp_path / "run", raw, tmp_path / "p.h5", "segmentor")
    assert open_volume(written).shape[1:] == (SIZE, SIZE)


def test_two_predictions_do_not_write_to_one_place(data: Data, target_run: Path, tmp_path: Path) -> None:
    raw = RawData(raw=(f"{data.folder}/target0_raw.png", f"{data.folder}/target1_raw.png"))
    with one_writer(tmp_path / "out"), pytest.raises(RunBusyError, match="another process"):
        predict(target_run, raw, tmp_path / "out", "forest")
    assert not list((tmp_path / "out").glob("*.h5"))
    assert len(predict(target_run, raw, tmp_path / "out", "forest")) == 2
    one = f"{data.folder}/target0_raw.png"
    with one_writer(tmp_path, "a.h5"):
        with pytest.raises(RunBusyError):
            predict(target_run, one, tmp_path / "a.h5", "forest")
        predict(target_run, one, tmp_path / "b.h5", "forest")
    assert not [path.name for path in tmp_path.rglob(".*")]


def test_blocks_of_a_large_image_are_counted(
    data: Data, target_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    monkeypatch.setattr(forest_maps, "BLOCK", {2: 16})
    monkeypatch.setattr(
        Bar, "progress", lambda self, what, done, total: told.setdefault(what, []).append((done, total))
    )
    predict(target_run, f"{data.folder}/target0_raw.png", tmp_path / "p.h5", "enhanced")
    assert told.pop("forest blocks") == [(n, 36) for n in range(1, 37)]
    assert told == {"predicting": [(0, 1), (1, 1)]}  # the enhancer has one block at each scale
