"""`s2d objects` and `s2d evaluate --objects`, from the command line on."""

import csv
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import Data
from typer.testing import CliRunner

from shallow2deep.cli import app, main
from shallow2deep.commands.evaluate import evaluate_objects
from shallow2deep.commands.find_objects import find_objects
from shallow2deep.errors import InputError, RunBusyError, SettingsError
from shallow2deep.io.atomic import one_writer
from shallow2deep.io.map_files import write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import BOUNDARY, Output, of_forest
from shallow2deep.settings import ObjectsSettings, RawData

DISCS = ((12, 12, 6), (12, 24, 7), (35, 40, 8))
TRUTH = np.zeros((50, 60), np.uint16)
for _number, (_y, _x, _r) in enumerate(DISCS, 1):
    _grid = np.indices(TRUTH.shape)
    TRUTH[((_grid[0] - _y) ** 2 + (_grid[1] - _x) ** 2 < _r**2) & (TRUTH == 0)] = _number


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with the maps, raw and labels of two images; the second shows nothing."""
    folder = tmp_path / "maps"
    p = 0.8 * (TRUTH > 0).astype(np.float32) + 0.1
    for name, one in (("a", p), ("b", 0 * p)):
        write_probabilities(
            folder / f"{name}_raw.h5", np.stack([1 - one, one]), of_forest(("ground", "disc"))
        )
        iio.imwrite(tmp_path / f"{name}_raw.png", (one * 200).astype(np.uint8))
        iio.imwrite(tmp_path / f"{name}_labels.png", TRUTH if name == "a" else 0 * TRUTH)
    iio.imwrite(tmp_path / "c_raw.png", (p * 0).astype(np.uint8))  # one without a map
    return folder


def s2d(*arguments: object) -> dict:
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    return json.loads(found.stdout)


def test_labels_measurements_masks_and_scores(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ["--raw", f"{tmp_path}/*_raw.png", "--voxel-size", "500,500", "--masks"]
    told = s2d("objects", f"{maps}/*.h5", "--out", out, *flags)
    assert told["objects"] == {"a_raw": 3, "b_raw": 0}
    assert told["threshold"] == 0.5
    assert "no strokes" in told["threshold_is"]
    labels = open_volume(out / "a_raw_objects.tif")
    assert labels.voxel_size == pytest.approx((500, 500))
    np.testing.assert_array_equal(labels.read() > 0, TRUTH > 0)
    np.testing.assert_array_equal(iio.imread(out / "a_raw_mask.png"), (TRUTH > 0) * np.uint8(255))
    with (out / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a_raw"] * 3
    assert float(rows[2]["area_um2"]) == int(float(rows[2]["area_px"])) * 0.25
    assert float(rows[2]["raw_mean"]) == 180
    empty = (out / "b_raw_objects.csv").read_text()
    assert empty == (out / "a_raw_objects.csv").read_text().splitlines(keepends=True)[0]
    names = ["--prediction", f"{out}/*_objects.tif", "--labels", f"{tmp_path}/?_labels.png"]
    scores = s2d("evaluate", "--objects", *names)
    assert scores["all"]["ap_50"] == 1
    assert scores["b_raw_objects.tif"]["ap_50"] is None
    assert not list(out.glob(".*"))


def test_in_blocks_objects_are_connected_parts(maps: Path, tmp_path: Path) -> None:
    out, raw = tmp_path / "out", ["--raw", f"{tmp_path}/[ab]_raw.png"]
    told = s2d("objects", f"{maps}/*.h5", "--out", out, "--in-blocks", "--format", "zarr", *raw)
    assert told["objects"] == {"a_raw": 2, "b_raw": 0}  # two discs touch
    labels = open_volume(out / "a_raw_objects.zarr").read()
    np.testing.assert_array_equal(labels, np.array([0, 1, 1, 2])[TRUTH])
    with (out / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["area_px"]) for row in rows] == [(TRUTH % 3 > 0).sum(), (TRUTH == 3).sum()]
    assert {float(row["raw_mean"]) for row in rows} == {180.0}
    for wrong in ({}, {"masks": True, "format": "zarr"}):
        with pytest.raises(InputError, match="give blobs and --format zarr"):
            find_objects(RawData(raw=(str(maps),)), tmp_path / "no", in_blocks=True, **wrong)
    assert not (tmp_path / "no").exists()


def test_the_same_command_gives_the_same_bytes(maps: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        find_objects(RawData(raw=(str(maps),)), tmp_path / name, masks=True)
    contents = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two")]
    assert contents[0] == contents[1]


def test_settings_from_a_file_and_from_flags(maps: Path, tmp_path: Path) -> None:
    config = tmp_path / "objects.yaml"
    config.write_text("threshold: 0.95\nmin_size: 200 px\n")
    call = ["objects", f"{maps}/a_raw.h5", "--config", config]
    assert s2d(*call, "--out", tmp_path / "1")["objects"] == {"a_raw": 0}
    assert s2d(*call, "--out", tmp_path / "2", "--threshold", "0.4")["objects"] == {"a_raw": 0}
    found = s2d(*call, "--out", tmp_path / "3", "--threshold", "0.4", "--min-size", "150")
    assert found["objects"] == {"a_raw": 1}
    found = s2d(*call, "--out", tmp_path / "4", "--set", "threshold=0.4", "--min-size", "2", "--split", "50")
    assert found["objects"] == {"a_raw": 2}


def test_masks_and_maps_of_other_programs(tmp_path: Path) -> None:
    """A mask in 8 bits, per cent in two channels, and a volume as OME-Zarr, plane by plane."""
    iio.imwrite(tmp_path / "mask.png", (TRUTH > 0) * np.uint8(255))
    share = 90.0 * (TRUTH > 0) + 5
    np.save(tmp_path / "cent.npy", np.stack([100 - share, share], -1).astype(np.float32)[None])
    volume = np.repeat(0.9 * (TRUTH > 0).astype(np.float32)[None, None], 4, 1)
    write_probabilities(tmp_path / "v.zarr", volume, [Output("disc")], (300.0, 100.0, 100.0))
    for name, axes, shape in (("mask.png", None, (50, 60)), ("cent.npy", "zyxc", (1, 50, 60))):
        data = RawData(raw=(str(tmp_path / name),), axes=axes)
        assert list(find_objects(data, tmp_path / "out").counts.values()) == [3], name
        assert open_volume(tmp_path / "out" / f"{Path(name).stem}_objects.tif").shape == shape
    for planes in (True, False):
        how = ObjectsSettings(by_planes=planes, min_size="0.5 um3")
        data = RawData(raw=(str(tmp_path / "v.zarr"),))
        found = find_objects(data, tmp_path / "out", how, masks=True, format="zarr")
        assert found.counts == {"v": 3}
        assert open_volume(tmp_path / "out" / "v_objects.zarr").voxel_size == (300, 100, 100)
        assert open_volume(tmp_path / "out" / "v_mask.tif").shape == (4, 50, 60)


def test_boundaries_and_classes_are_found_by_their_names(tmp_path: Path) -> None:
    square, ridge = np.zeros((30, 60), np.float32), np.zeros((30, 60), np.float32)
    square[5:25, 5:55], ridge[:, 29:31] = 0.9, 0.9
    outputs = [Output("cell", BOUNDARY), Output("cell"), Output("dirt")]
    path = write_probabilities(tmp_path / "p.h5", np.stack([ridge, square, 0 * square]), outputs)
    with pytest.raises(InputError, match="say by channel which one to use: cell boundary, cell, dirt"):
        find_objects(path, tmp_path / "out")
    for channel, count in (("cell", 2), (1, 2), ("dirt", 0)):
        assert find_objects(path, tmp_path / "out", ObjectsSettings(channel=channel)).counts == {"p": count}


BAD = {
    "no such file": (["nowhere.h5"], "no such file"),
    "unknown setting": (["a_raw.h5", "--set", "treshold=0.5"], 'did you mean "threshold"'),
    "threshold": (["a_raw.h5", "--threshold", "2"], "threshold"),
    "size without a unit known": (["a_raw.h5", "--min-size", "5 um2"], "voxel size is not known"),
    "size of a volume": (["a_raw.h5", "--min-size", "5 um3", "--voxel-size", "9,9"], "images with 2 axes"),
    "a size that is none": (["a_raw.h5", "--min-size", "big"], "number of pixels"),
    "channel": (["a_raw.h5", "--channel", "rod"], "ground, disc"),
    "format": (["a_raw.h5", "--format", "png"], "tif or zarr"),
    "step of maps": (["a_raw.h5", "--step", "forest"], "run of adapt"),
    "raw of another shape": (["a_raw.h5", "--raw", "small.png"], "shape"),
    "too many raw images": (["a_raw.h5", "--raw", "small.png", "--raw", "small2.png"], "names do not tell"),
    "raw images, not maps": (["small.png"], "not evidently probabilities"),
    "over its input": (["a_raw_objects.tif", "--out", "."], "overwrite"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(
    kind: str, maps: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(maps)
    iio.imwrite("small.png", np.eye(9, dtype=np.uint8))
    iio.imwrite("small2.png", np.eye(9, dtype=np.uint8))
    iio.imwrite("a_raw_objects.tif", TRUTH * np.uint16(20000))
    iio.imwrite("a_raw_objects_objects.tif", TRUTH)
    arguments, sentence = BAD[kind]
    if "--out" in arguments:
        arguments = ["a_raw_objects.tif", "--out", ".", "--threshold", "0.1", "a_raw_objects_objects.tif"]
    else:
        arguments = [*arguments, "--out", "out"]
    monkeypatch.setattr("sys.argv", ["s2d", "objects", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert sentence in error[-1]
    assert not Path("out").exists()


def test_scores_of_objects_refuse_what_has_no_meaning(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 images of objects and 2 of labels"):
        evaluate_objects(
            RawData(raw=(f"{tmp_path}/a_labels.png",)), RawData(raw=(f"{tmp_path}/?_labels.png",))
        )
    with pytest.raises(InputError, match="--tolerance has no meaning"):
        s2d("evaluate", "--objects", "--prediction", "a", "--labels", "b", "--tolerance", "2")


def test_two_processes_do_not_write_to_one_place(maps: Path, tmp_path: Path) -> None:
    with one_writer(tmp_path / "out"), pytest.raises(RunBusyError, match="another process"):
        find_objects(maps / "a_raw.h5", tmp_path / "out")


def test_of_a_run(data: Data, target_run: Path, tmp_path: Path) -> None:
    """Its recommended maps, or others; they are matched with raw and labels by name."""
    found = s2d("objects", target_run, "--out", tmp_path / "o", "--raw", f"{data.folder}/target*_raw.png")
    assert sorted(found["objects"]) == [f"target{n}_raw" for n in range(4)]
    sized = s2d("objects", target_run, "--out", tmp_path / "s", "--voxel-size", "500,500")
    assert "area_um2" in Path(sized["table"]).read_text()
    recommended = json.loads((target_run / "prediction" / "choice.json").read_text())
    expected = recommended["thresholds"][recommended["recommended"]]["disc"]
    assert found["threshold"] == (0.5 if expected is None else expected)
    forest = find_objects(target_run, tmp_path / "f", step="forest", masks=True)
    assert sum(forest.counts.values()) > 0
    p = open_volume(target_run / "target_forest" / "target1_raw.h5").read()[1]
    mask = iio.imread(tmp_path / "f" / "target1_raw_mask.png") > 0
    np.testing.assert_array_equal(mask, p > forest.threshold)
    with pytest.raises(InputError, match="none of its results"):
        find_objects(target_run, tmp_path / "f", step="segmentor-both")
    with pytest.raises(InputError, match="one of disc"):
        find_objects(target_run, tmp_path / "f", ObjectsSettings(channel="rod"))
    with pytest.raises(SettingsError, match="kind"):
        s2d("objects", target_run, "--out", tmp_path / "o", "--kind", "worms")
