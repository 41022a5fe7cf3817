"""Adapting from ilastik projects and from maps made elsewhere, and predicting as ilastik does."""

import json
import zipfile
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from ilp_file import add_empty_forest, write_project
from tiny import SEGMENTOR, SIZE, artifacts, disc_image
from typer.testing import CliRunner

from shallow2deep import adapt, predict
from shallow2deep.cli import app
from shallow2deep.settings import AdaptConfig, RawData, read_yaml, validated
from shallow2deep.errors import InputError
from shallow2deep.exports.forest_in_project import export_forest
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import Forest, train_forest
from shallow2deep.io.atomic import read_json
from shallow2deep.io.ilp import open_project
from shallow2deep.io.volumes import open_volume
from shallow2deep.inputs.ilastik import open_frames, predict_project, spec_of

SELECTION = [
    (name, scale, False)
    for name in ("GaussianSmoothing", "HessianOfGaussianEigenvalues")
    for scale in (0.7, 1.6)
]


def painted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw `(y, x)` and strokes: 1 on discs, 2 on the ground, as an ilastik user might have it."""
    raw, labels = disc_image(seed, 60)
    strokes = np.zeros_like(labels)
    for row in (20, 40, 60, 80):
        strokes[row : row + 2] = np.where(labels[row : row + 2] > 0, 1, 2)
    return raw, strokes


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A trained 2D project of two lanes."""
    lanes = [painted(seed) for seed in (200, 201)]
    path = write_project(
        tmp_path / "flat.ilp", [(raw[..., None], "yxc", s[..., None]) for raw, s in lanes], ("disc", "ground")
    )
    spec = FeatureSpec.of_selection(SELECTION, 2)
    add_empty_forest(path, spec.n_features)
    forest = train_forest([r for r, _ in lanes], [s for _, s in lanes], spec, 9, classes=("disc", "ground"))
    trained = export_forest(forest, path, tmp_path / "trained.ilp")
    forest.save(tmp_path / "forest.npz")
    return trained


def config(enhancer: Path, target: dict, **changes: object) -> AdaptConfig:
    values = {
        "target": target,
        "enhancer": str(enhancer),
        "target_forest": {"n_trees": 5},
        "enhanced": {"device": "cpu"},
    }
    return validated(AdaptConfig, values | changes, "test")


def foreground(run: Path, name: str, stage: str = "target_forest") -> np.ndarray:
    return open_volume(run / stage / f"{name}.h5").read()[-1]


def test_strokes_names_and_features_come_from_the_project(
    flat: Path, source_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = config(source_run, {"ilp": str(flat), "background": "ground"})
    adapt(settings, run)
    forest = Forest.load(run / "target_forest" / "forest.npz")
    assert forest.classes == ("ground", "disc")
    assert forest.spec == FeatureSpec.of_selection(SELECTION, 2)
    labels = disc_image(200, 60)[1] > 0
    p = foreground(run, "lane_0")
    assert p[labels].mean() > p[~labels].mean() + 0.3
    before = artifacts(run)
    adapt(settings, run)
    assert artifacts(run) == before


def test_the_projects_own_forest(flat: Path, source_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    adapt(config(source_run, {"ilp": str(flat), "background": 2}, forest="ilp"), run)
    maps = {path.stem: open_volume(path).read() for path in predict_project(flat, tmp_path / "maps")}
    assert set(maps) == {"lane_0", "lane_1"}
    own = Forest.load(tmp_path / "forest.npz")
    assert own.classes == ("disc", "ground")
    for name, p in maps.items():
        np.testing.assert_allclose(
            open_volume(run / "target_forest" / f"{name}.h5").read(), p[::-1], atol=1e-6
        )
    choice = json.loads((run / "prediction" / "choice.json").read_text())
    assert choice["held_out_pixels"] == 0


def test_volumes_with_3d_features_are_enhanced_plane_by_plane(source_run: Path, tmp_path: Path) -> None:
    raw = np.stack([painted(300)[0]] * 5)
    strokes = np.zeros_like(raw)
    strokes[2] = painted(300)[1]
    path = write_project(
        tmp_path / "p.ilp",
        [(raw[..., None], "zyxc", strokes[..., None])],
        ("disc", "ground"),
        in_2d=(False, True),
    )
    run = tmp_path / "run"
    adapt(config(source_run, {"ilp": str(path), "background": "ground"}), run)
    spec = Forest.load(run / "target_forest" / "forest.npz").spec
    assert [one.in_2d for one in spec.filters] == [False, True, False, True]
    assert foreground(run, "lane_0", "enhanced").shape == raw.shape
    np.save(tmp_path / "more.npy", raw)
    (written,) = predict(run, RawData(raw=(str(tmp_path / "more.npy"),)), tmp_path / "out", "forest")
    np.testing.assert_allclose(open_volume(written).read()[-1], foreground(run, "lane_0"), atol=1e-6)


def test_channels_and_time_with_a_segmentor(source_run: Path, tmp_path: Path) -> None:
    first, strokes = painted(400)
    raw = np.stack([np.stack([first, 255 - first], -1)] * 2)
    drawn = np.zeros((2, SIZE, SIZE, 1), np.uint8)
    drawn[0, ..., 0] = strokes
    path = write_project(tmp_path / "p.ilp", [(raw, "tyxc", drawn)], ("disc", "ground"))
    run = tmp_path / "run"
    segmentor = SEGMENTOR | {"steps": 4, "confidence": {"forests": 2}}
    adapt(config(source_run, {"ilp": str(path), "background": "ground"}, segmentor=segmentor), run)
    assert Forest.load(run / "target_forest" / "forest.npz").spec.channels == 2
    model = json.loads((run / "segmentor-consistency" / "model.json").read_text())
    assert model["in_channels"] == 2
    assert foreground(run, "lane_0_t1", "segmentor-consistency").shape == (SIZE, SIZE)
    np.testing.assert_array_equal(foreground(run, "lane_0_t0"), foreground(run, "lane_0_t1"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, SIZE, SIZE, 1), r"other.npy, read as czyx of shape .* came with these data"),
        ((3, 80, 90), r"other.npy, read as cyx of shape \(90, 3, 80\): 90 channels"),
    ],
)
def test_other_data_than_the_project_has(shape: tuple, message: str, flat: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match=message):
        predict_project(flat, tmp_path / "out", [str(other)])
    assert not (tmp_path / "out").exists()


def test_maps_of_a_project_go_into_a_folder(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="into a folder"):
        predict_project(flat, tmp_path / "map.h5")
    assert not (tmp_path / "map.h5").exists()


def test_raw_in_place_of_the_projects_is_matched_by_name(source_run: Path, tmp_path: Path) -> None:
    lanes, there = [], tmp_path / "elsewhere"
    there.mkdir()
    for name, seed in (("b", 200), ("a", 201)):
        raw, strokes = painted(seed)
        iio.imwrite(there / f"{name}.png", raw)
        lanes.append((f"C:\\gone\\{name}.png", "yxc", strokes[..., None]))
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground"))
    names = [str(there / name) for name in ("a.png", "b.png")]
    frames = open_frames(open_project(project), names)
    assert [frame.file.name for frame in frames] == ["b.png", "a.png"]


@pytest.mark.parametrize("z", [0, 1, slice(0, 2)])
def test_a_plane_for_strokes_in_a_volume(z: int | slice, source_run: Path, tmp_path: Path) -> None:
    raw, strokes = painted(200)
    drawn = np.zeros((2, SIZE, SIZE, 1), np.uint8)
    drawn[z, ..., 0] = strokes
    project = write_project(tmp_path / "p.ilp", [(np.stack([raw] * 2)[..., None], "zyxc", drawn)])
    iio.imwrite(tmp_path / "plane.png", raw)
    target = {"ilp": str(project), "raw": str(tmp_path / "plane.png"), "background": 2}
    if z == 0:
        adapt(config(source_run, target), tmp_path / "run")
        return
    with pytest.raises(InputError, match="lie outside of"):
        adapt(config(source_run, target), tmp_path / "run")


def test_a_volume_for_strokes_on_planes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((2, SIZE, SIZE, 1), np.uint8))
    raw = [str(tmp_path / "volume.npy")] * 2
    with pytest.raises(
        InputError, match=r"labels of lane 0 \(yxc\) have no axis z, but .*volume.npy \(czyx\)"
    ):
        adapt(config(source_run, {"ilp": str(flat), "raw": raw}), tmp_path / "run")


@pytest.mark.parametrize(
    "form", ["channel first", "channel last", "ilastik", "one channel", "8 bits", "pages"]
)
def test_maps_made_elsewhere(form: str, flat: Path, source_run: Path, tmp_path: Path) -> None:
    given = [open_volume(path).read() for path in predict_project(flat, tmp_path / "maps")]
    names = []
    for n, p in enumerate(given):
        names.append(str(tmp_path / f"p{n}.{'h5' if form == 'ilastik' else 'npy'}"))
        if form == "ilastik":
            with h5py.File(names[-1], "w") as file:
                file["exported_data"] = np.moveaxis(p, 0, -1)
                tags = {"axes": [{"key": a} for a in "yxc"]}
                file["exported_data"].attrs["axistags"] = json.dumps(tags)
            continue
        arrays = {
            "channel first": p,
            "channel last": np.moveaxis(p, 0, -1),
            "one channel": p[0],
            "8 bits": np.round(p * 255).astype(np.uint8),
            "pages": p,
        }
        if form == "pages":
            names[-1] = str(tmp_path / f"p{n}.tif")
            tifffile.imwrite(names[-1], arrays[form])
        else:
            np.save(names[-1], arrays[form])
    target = {"ilp": str(flat), "background": "ground", "probabilities": names}
    channel = {"ilastik": "disc", "one channel": None}.get(form, 0)
    run = tmp_path / "run"
    adapt(config(source_run, target | {"channel": channel}), run)
    np.testing.assert_allclose(foreground(run, "lane_0"), given[0][0], atol=0.002)
    assert foreground(run, "lane_1", "enhanced").shape == (SIZE, SIZE)
    with pytest.raises(InputError, match="made elsewhere"):
        predict(run, names[0], tmp_path / "out", "forest")


def test_raw_that_is_not_finite_is_refused(flat: Path, tmp_path: Path) -> None:
    raw = painted(5)[0].astype(np.float32)
    raw[3, 4] = np.nan
    np.save(tmp_path / "raw.npy", raw)
    with pytest.raises(InputError, match=r"\(3, 4\)"):
        predict_project(flat, tmp_path / "out", [str(tmp_path / "raw.npy")])
    assert not (tmp_path / "out").exists()


def test_maps_without_strokes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    raw = painted(200)[0]
    iio.imwrite(tmp_path / "raw.png", raw)
    p = open_volume(predict_project(flat, tmp_path / "maps")[0]).read()
    np.save(tmp_path / "p.npy", p[0])
    target = {"raw": str(tmp_path / "raw.png"), "probabilities": str(tmp_path / "p.npy")}
    adapt(config(source_run, target), tmp_path / "run")
    np.testing.assert_allclose(foreground(tmp_path / "run", "raw"), p[0], atol=1e-6)


def test_the_wrong_channel_contradicts_the_strokes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    maps = [str(path) for path in predict_project(flat, tmp_path / "maps")]
    target = {"ilp": str(flat), "background": "ground", "probabilities": maps}
    for wrong, message in (
        (1, "choose the other channel"),
        ("dust", 'no channel "dust"'),
        (5, "give 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(config(source_run, target | {"channel": wrong}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ilp", "{gone}"], "no such file"),
        (["--ilp", "{flat}", "--background", "dust"], 'no label "dust"'),
        (["--ilp", "{flat}", "--strokes", "s.png"], "give one of them"),
        (["--raw", "x.png"], "strokes are missing"),
        (["--raw", "x.png", "--strokes", "s.png", "--forest", "ilp"], "target.ilp"),
    ],
)
def test_bad_input_is_one_sentence(
    flags: list[str], message: str, flat: Path, source_run: Path, tmp_path: Path
) -> None:
    filled = [flag.format(gone=tmp_path / "gone.ilp", flat=flat) for flag in flags]
    run = tmp_path / "run"
    result = CliRunner().invoke(app, ["adapt", *filled, "--enhancer", str(source_run), "--run", str(run)])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not run.exists()


def test_info_and_predict_from_the_command_line(flat: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["ilp", "info", str(flat)]).output
    for part in ("disc, ground", "GaussianSmoothing 0.7 1.6", "forest:   trained", "lane 1 (yxc)"):
        assert part in told
    np.save(tmp_path / "other.npy", painted(5)[0])
    arguments = [
        "ilp",
        "predict",
        str(flat),
        "--out",
        str(tmp_path / "out"),
        "--raw",
        str(tmp_path / "other.npy"),
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert str(tmp_path / "out" / "other.h5") in result.output
    assert open_volume(tmp_path / "out" / "other.h5").shape == (2, SIZE, SIZE)


def assert_by_ilastiks_rule(
    project: Path, expected: np.ndarray, axes: str, out: Path, raw: str | None = None
) -> np.ndarray:
    """ilastik's own rule for other platforms: fewer than 0.1 % differ by 0.015 or more, none by 0.15."""
    paths = predict_project(project, out, [raw] if raw else [])
    found = np.stack([open_volume(path).read() for path in paths])
    ordered = expected.transpose([axes.index(a) for a in "tczyx" if a in axes]).reshape(found.shape)
    off = abs(found - ordered)
    assert (off >= 0.015).mean() < 0.001
    assert off.max() < 0.15
    return off


@pytest.mark.parametrize(
    ("project", "result", "axes"),
    [
        ("PixelClass.ilp", "res-Data_1channel_pc1xyc.npy", "yxc"),
        ("PixelClass3D.ilp", "res-Data_3D_pc3d.npy", "zyxc"),
    ],
)
def test_equal_to_ilastik(shared_data: Path, project: str, result: str, axes: str, tmp_path: Path) -> None:
    folder = shared_data / "ilastik/api_projects"
    assert_by_ilastiks_rule(folder / project, np.load(folder / result), axes, tmp_path)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("2d3c", "yxc"),
        ("3d", "zyxc"),
        ("3d1c", "zyxc"),
        ("3d2c", "zyxc"),
        ("5t2d1c", "tyxc"),
        ("5t2d2c", "tyxc"),
        ("5t3d2c", "tzyxc"),
    ],
)
def test_equal_to_ilastik_1_2(shared_data: Path, name: str, axes: str, tmp_path: Path) -> None:
    folder = shared_data / "ilastik/test_projects_1.2"
    with zipfile.ZipFile(folder / "test_projects.zip") as archive:
        project = Path(archive.extract(f"PixelClassification{name}.ilp", tmp_path))
    with h5py.File(folder / f"inputdata/{name}_Probabilities.h5") as file:
        expected = file["exported_data"][()]
    raw = f"{folder}/inputdata/{name}.h5:data"
    off = assert_by_ilastiks_rule(project, expected, axes, tmp_path / "out", raw)
    assert (off < 1e-6).mean() > 0.9999


def test_equal_to_ilastik_where_raw_is_bright(shared_data: Path, tmp_path: Path) -> None:
    """Raw is around 33,000: forests see the rounding of float32."""
    folder = shared_data / "ilastik/mitocheck"
    with h5py.File(folder / "mitocheck_2d+t/mitocheck_small_2D+t_mergers_export.h5") as file:
        expected = file["exported_data"][()]
    project = folder / "mitocheckPixelClassificationMergers.ilp"
    assert not assert_by_ilastiks_rule(project, expected, "txyc", tmp_path).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [("PixelClassNoClassifier.ilp", "Live Update"), ("PixelClassNoData.ilp", "no trained")],
)
def test_real_projects_that_cannot_predict(
    shared_data: Path, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        predict_project(shared_data / "ilastik/api_projects" / name, tmp_path)


def test_thin_volumes_are_filtered_plane_by_plane(tmp_path: Path) -> None:
    raw = np.zeros((2, 20, 20, 1), np.uint8)
    project = open_project(write_project(tmp_path / "p.ilp", [(raw, "zyxc", np.zeros_like(raw))]))
    volume = open_volume(f"{project.path}:Input Data/local_data/id-0")
    assert {one.in_2d for one in spec_of(project, volume).filters} == {True}


def test_results_never_take_the_place_of_what_they_are_made_from(flat: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "a.h5"
    raw.parent.mkdir()
    with h5py.File(raw, "w") as file:
        file["raw"] = painted(5)[0]
    before = raw.read_bytes()
    with pytest.raises(InputError, match="would overwrite"):
        predict_project(flat, raw.parent, [f"{raw}:raw"])
    assert raw.read_bytes() == before
    with pytest.raises(InputError, match="new file"):
        export_forest(Forest.load(tmp_path / "forest.npz"), flat, flat)


def test_maps_are_matched_by_name(source_run: Path, tmp_path: Path) -> None:
    for name, seed in (("b", 200), ("a", 201)):
        raw, strokes = painted(seed)
        iio.imwrite(tmp_path / f"{name}.png", raw)
        np.save(tmp_path / f"{name}_Probabilities.npy", (strokes == 1) * 0.8 + 0.1)
    lanes = [(f"{name}.png", "yxc", painted(seed)[1][..., None]) for name, seed in (("b", 200), ("a", 201))]
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/*_Probabilities.npy"}
    adapt(config(source_run, target), tmp_path / "run")
    for name, lane in (("b", "lane_0"), ("a", "lane_1")):
        given = np.load(tmp_path / f"{name}_Probabilities.npy")
        np.testing.assert_allclose(foreground(tmp_path / "run", lane), given, atol=1e-6)


@pytest.mark.parametrize("form", ["as ilastik writes it", "without axes"])
def test_maps_of_time_series(form: str, source_run: Path, tmp_path: Path) -> None:
    lanes, expected = [], []
    for name, seeds in (("b", (200, 201)), ("a", (202, 203, 204))):
        raws, strokes = map(np.stack, zip(*map(painted, seeds), strict=True))
        np.save(tmp_path / f"{name}.npy", raws)
        lanes.append((f"{name}.npy", "tyxc", strokes[..., None]))
        p = np.stack([(strokes == 1) * 0.8 + 0.1, (strokes != 1) * 0.8 + 0.1], -1).astype(np.float32)
        expected += list(p[..., 0])
        if form == "without axes":
            np.save(tmp_path / f"{name}_Probabilities.npy", p)
            continue
        with h5py.File(tmp_path / f"{name}_Probabilities.h5", "w") as file:
            file["exported_data"] = p[:, None]
            tags = {"axes": [{"key": a} for a in "tzyxc"]}
            file["exported_data"].attrs["axistags"] = json.dumps(tags)
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/*_Probabilities.*"}
    adapt(config(source_run, target | {"channel": "disc"}), tmp_path / "run")
    names = ["lane_0_t0", "lane_0_t1", "lane_1_t0", "lane_1_t1", "lane_1_t2"]
    for name, p in zip(names, expected, strict=True):
        np.testing.assert_allclose(foreground(tmp_path / "run", name), p, atol=1e-6)
    one = next(tmp_path.glob("a_Probabilities.*"))
    with pytest.raises(InputError, match="5 raw images but 1 probability maps"):
        adapt(config(source_run, target | {"channel": 0, "probabilities": str(one)}), tmp_path / "other")


def test_labels_are_no_probabilities(flat: Path, source_run: Path, tmp_path: Path) -> None:
    for n in range(2):
        np.save(tmp_path / f"{n}.npy", painted(200 + n)[1] + 1)
    target = {"ilp": str(flat), "background": "ground", "probabilities": f"{tmp_path}/?.npy"}
    with pytest.raises(InputError, match="not labels"):
        adapt(config(source_run, target), tmp_path / "run")


def test_one_of_several_structures_in_maps(source_run: Path, tmp_path: Path) -> None:
    """Two kinds of ground: the discs' map is enhanced, and all other labels are background."""
    lanes, maps = [], []
    for seed in (200, 201):
        raw, strokes = painted(seed)
        strokes[:30][strokes[:30] == 2] = 3
        lanes.append((raw[..., None], "yxc", strokes[..., None]))
        maps.append(np.stack([(strokes == n) * 0.8 + 0.1 for n in (1, 2, 3)], -1).astype(np.float32))
        np.save(tmp_path / f"p{seed}.npy", maps[-1])
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground", "dirt"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/p*.npy"}
    for channel in ("disc", 0):
        run = tmp_path / f"run-{channel}"
        adapt(config(source_run, target | {"channel": channel}), run)
        assert np.array_equal(foreground(run, "lane_0"), maps[0][..., 0])
        assert read_yaml(run / "settings.yaml")["classes"] == ["ground", "disc"]
        assert read_json(run / "prediction" / "choice.json")["used_pixels"] == sum(
            np.count_nonzero(labels) for _, _, labels in lanes
        )
    few = write_project(tmp_path / "two.ilp", [(r, a, s * (s < 3)) for r, a, s in lanes], ("disc", "ground"))
    with pytest.raises(InputError, match="3 channels, but there are 2 names"):
        adapt(config(source_run, target | {"ilp": str(few), "channel": "disc"}), tmp_path / "other")
    for channel, message in ((None, "choose it by channel"), ("ground", "no structure"), (5, "dirt")):
        with pytest.raises(InputError, match=message):
            adapt(config(source_run, target | {"channel": channel}), tmp_path / "other")
    np.save(tmp_path / "p200.npy", 1 - maps[0])
    np.save(tmp_path / "p201.npy", 1 - maps[1])
    with pytest.raises(InputError, match="choose the other channel"):
        adapt(config(source_run, target | {"channel": "disc"}), tmp_path / "other")


def test_a_map_of_8_bits_may_be_empty(source_run: Path, tmp_path: Path) -> None:
    for n, p in enumerate((np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 200, np.uint8))):
        iio.imwrite(tmp_path / f"raw{n}.png", painted(200 + n)[0])
        np.save(tmp_path / f"raw{n}_p.npy", p)
    target = {"raw": f"{tmp_path}/raw*.png", "probabilities": f"{tmp_path}/raw*_p.npy"}
    adapt(config(source_run, target), tmp_path / "run")
    assert not foreground(tmp_path / "run", "raw0").any()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"slices": "0:4"}, "slices has no meaning"),
        ({"channel": 1}, "channel is that of probabilities"),
    ],
)
def test_settings_without_a_meaning_are_refused(
    setting: dict, message: str, flat: Path, source_run: Path
) -> None:
    with pytest.raises(InputError, match=message):
        config(source_run, {"ilp": str(flat)} | setting)


def test_a_run_cannot_ask_to_be_trusted(flat: Path, source_run: Path) -> None:
    with pytest.raises(InputError, match='unknown setting "trust"'):
        config(source_run, {"ilp": str(flat)}, trust=True)
