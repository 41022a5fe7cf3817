"""Predicting further images with what runs have made."""

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import SIZE, Data

from shallow2deep import adapt, predict
from shallow2deep.errors import InputError, RunBusyError
from shallow2deep.inference import forest_maps, network_maps
from shallow2deep.io.atomic import one_writer
from shallow2deep.io.map_files import read_map
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
    p, outputs = read_map(out[0])
    assert ([output.title for output in outputs], p.shape) == (["background", "disc"], (2, SIZE, SIZE))


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


def test_windows_that_overlap_can_take_the_place_of_blocks(
    target_run: Path, source_run: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs does so where windows see too little, and less where their borders count less."""
    raw = f"{data.folder}/target0_raw.png"
    monkeypatch.setattr(forest_maps, "BLOCK", {2: 48})
    monkeypatch.setattr(network_maps, "BLOCK", {2: 48})
    for model, step in ((target_run, "forest"), (source_run / "source_net", "recommended")):
        maps = [
            open_volume(predict(model, raw, tmp_path / f"{step}{n}.h5", step, "cpu", **options)[0]).read()
            for n, options in enumerate([{}, {"overlap": 32, "border_weight": 0}, {"overlap": 0}])
        ]
        assert {p.shape for p in maps} == {maps[0].shape}
        averaged, apart = (float(np.abs(p - maps[0]).mean()) for p in maps[1:])
        assert 0 < averaged < apart < 0.05
        assert all(0 <= p.min() < p.max() <= 1 for p in maps)
    with pytest.raises(InputError, match=r"an overlap of 48 pixels came for windows of \(48, 48\)"):
        predict(target_run, raw, tmp_path / "p.h5", "forest", "cpu", overlap=48)
    with pytest.raises(InputError, match="a weight of borders of 2 came"):
        predict(target_run, raw, tmp_path / "p.h5", "forest", "cpu", overlap=8, border_weight=2)
    assert not (tmp_path / "p.h5").exists()


def test_a_companion_and_several_scales_see_windows_too(data: Data) -> None:
    from shallow2deep.inference.enhance import Enhancer
    from shallow2deep.inference.windows import Overlap
    from shallow2deep.networks.model import ModelSpec
    from shallow2deep.outputs import Output
    from shallow2deep.settings import EnhancedSettings, NetworkSettings

    size = NetworkSettings(features=2, depth=1, stem=1)
    network = ModelSpec.of("enhancer", (Output(None),), size, 2, in_channels=1).build()
    p = np.random.default_rng(0).random((2, 64, 50), np.float32)
    settings = EnhancedSettings(block=(24, 24), scales=(0.7, 1.0))
    blocks = Enhancer(network, (Output(None),), settings).enhance(p)
    windows = Enhancer(network, (Output(None),), settings, overlap=Overlap(16, 0.0)).enhance(p)
    assert windows.shape == blocks.shape == (1, 64, 50)
    assert 0 < np.abs(windows - blocks).mean() < 0.02
