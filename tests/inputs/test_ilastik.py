"""Adapting from ilastik projects: data, strokes, names, features and forests come from them."""

import json
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
from ilp_file import SPEC, adapt_config, foreground, painted, write_project
from tiny import SEGMENTOR, SIZE, artifacts, disc_image

from shallow2deep import adapt, predict
from shallow2deep.commands.project import predict_project
from shallow2deep.errors import InputError
from shallow2deep.forests import Forest
from shallow2deep.inputs.ilastik import open_frames, spec_of
from shallow2deep.io.ilp import open_project
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import RawData


def test_strokes_names_and_features_come_from_the_project(
    flat: Path, source_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = adapt_config(source_run, {"ilp": str(flat), "background": "ground"})
    adapt(settings, run)
    forest = Forest.load(run / "target_forest" / "forest.npz")
    assert forest.classes == ("ground", "disc")
    assert forest.spec == SPEC
    labels = disc_image(200, 60)[1] > 0
    p = foreground(run, "lane_0")
    assert p[labels].mean() > p[~labels].mean() + 0.3
    before = artifacts(run)
    adapt(settings, run)
    assert artifacts(run) == before


def test_the_projects_own_forest(flat: Path, source_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    adapt(adapt_config(source_run, {"ilp": str(flat), "background": 2}, forest="ilp"), run)
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


def test_the_projects_own_forest_keeps_its_range(flat: Path, source_run: Path, tmp_path: Path) -> None:
    for number, seed in enumerate((200, 201)):
        raw = painted(seed)[0].astype(np.uint16) * (200 if number else 1)
        np.save(tmp_path / f"lane_{number}.npy", raw)
    target = {"ilp": str(flat), "background": 2}
    other = target | {"raw": [str(tmp_path / f"lane_{n}.npy") for n in range(2)]}
    with pytest.raises(InputError, match=r"lane_1.npy: its values .* the forest of the project .*rescale"):
        adapt(adapt_config(source_run, other, forest="ilp"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    adapt(adapt_config(source_run, target, forest="ilp"), tmp_path / "run")
    with pytest.raises(InputError, match="rescale"):
        predict(tmp_path / "run", str(tmp_path / "lane_1.npy"), tmp_path / "out", "forest")


def test_a_forest_predicts_whatever_became_of_the_labels(flat: Path, tmp_path: Path) -> None:
    expected = [path.read_bytes() for path in predict_project(flat, tmp_path / "maps")]
    with h5py.File(flat, "r+") as file:
        block = file["PixelClassification/LabelSets/labels000/block0000"]
        block.attrs["blockSlice"], block.attrs["axistags"] = "[0:1]", "{"
    assert [path.read_bytes() for path in predict_project(flat, tmp_path / "again")] == expected


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
    adapt(adapt_config(source_run, {"ilp": str(path), "background": "ground"}), run)
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
    adapt(adapt_config(source_run, {"ilp": str(path), "background": "ground"}, segmentor=segmentor), run)
    assert Forest.load(run / "target_forest" / "forest.npz").spec.channels == 2
    model = json.loads((run / "segmentor-consistency" / "model.json").read_text())
    assert model["in_channels"] == 2
    assert foreground(run, "lane_0_t1", "segmentor-consistency").shape == (SIZE, SIZE)
    np.testing.assert_array_equal(foreground(run, "lane_0_t0"), foreground(run, "lane_0_t1"))


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
        adapt(adapt_config(source_run, target), tmp_path / "run")
        return
    with pytest.raises(InputError, match="lie outside of"):
        adapt(adapt_config(source_run, target), tmp_path / "run")


def test_a_volume_for_strokes_on_planes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((2, SIZE, SIZE, 1), np.uint8))
    raw = [str(tmp_path / "volume.npy")] * 2
    with pytest.raises(
        InputError, match=r"labels of lane 0 \(yxc\) have no axis z, but .*volume.npy \(czyx\)"
    ):
        adapt(adapt_config(source_run, {"ilp": str(flat), "raw": raw}), tmp_path / "run")


def test_thin_volumes_are_filtered_plane_by_plane(tmp_path: Path) -> None:
    raw = np.zeros((2, 20, 20, 1), np.uint8)
    project = open_project(write_project(tmp_path / "p.ilp", [(raw, "zyxc", np.zeros_like(raw))]))
    volume = open_volume(f"{project.path}:Input Data/local_data/id-0")
    assert {one.in_2d for one in spec_of(project, volume).filters} == {True}
