"""Volumes from the command line: enhancer-train and adapt in 3D, stopped, resumed, exported and applied."""

import json
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from balls import SHAPE, VOXEL, save_volumes, source_values, target_values
from command_line import s2d
from ilp_file import write_project
from tiny import PACKAGE, artifacts

from shallow2deep import adapt, enhancer_train, export, predict
from shallow2deep.commands.network import describe_network
from shallow2deep.errors import InputError
from shallow2deep.inputs.target import open_target
from shallow2deep.io.map_files import read_map
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_spec
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, RawData, validated


def killed_then_finished(made: Path, *command: object) -> str:
    """Runs a command that is killed as soon as a file is there, and runs it again."""
    words = [sys.executable, "-m", "shallow2deep", *map(str, command)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not made.exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9, "it ended before it was killed"
    again = s2d(*command)
    assert again.returncode == 0, again.stderr
    return again.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_volumes(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    enhancer_train(validated(EnhancerTrainConfig, source_values(folder), "test"), folder / "source")
    return folder / "source"


@pytest.fixture(scope="module")
def target(folder: Path, source: Path) -> Path:
    adapt(validated(AdaptConfig, target_values(folder, source), "test"), folder / "target")
    return folder / "target"


def opened(folder: Path, enhancer: Path | str, **changes: object) -> tuple[AdaptConfig, str]:
    config = validated(AdaptConfig, target_values(folder, enhancer) | changes, "test")
    return config, open_target(config).way(config)


def test_source_run_killed_anywhere_ends_with_the_same_bytes(
    folder: Path, source: Path, tmp_path: Path
) -> None:
    spec = load_spec(source / "enhancer")
    assert (spec.ndim, spec.strides, spec.voxel_size) == (3, ((1, 2, 2), (2, 2, 2)), VOXEL)
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(source_values(folder)))))
    told = killed_then_finished(run / "enhancer" / "checkpoints", "enhancer-train", config, "--run", run)
    assert "volumes: voxels of 20 x 10 x 10 nm, not cubes: filters plane by plane" in told
    assert artifacts(run) == artifacts(source)


def test_target_run_killed_anywhere_ends_with_the_same_bytes(
    folder: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(target_values(folder, source)))))
    made = run / "segmentor-consistency" / "checkpoints"
    killed_then_finished(made, "adapt", config, "--run", run)
    assert artifacts(run) == artifacts(target)
    choice = json.loads((run / "prediction" / "choice.json").read_text())
    assert set(choice["scores"]) == {"target_forest", "enhanced", "segmentor-consistency", "source_net"}
    assert sum(choice["held_out_strokes"].values()) >= 8
    assert choice["dice_on_labels"]["target_forest"] > 0.7
    for name in (*choice["scores"], "prediction"):
        assert read_map(run / name / "target.h5")[0].shape[1:] == SHAPE
    assert (run / "report.html").stat().st_size > 10_000


def test_other_volumes_are_predicted_as_those_of_the_run(folder: Path, target: Path, tmp_path: Path) -> None:
    raw = RawData(raw=(f"{folder}/target.h5:raw",))
    for step in ("enhanced", "segmentor"):
        (path,) = predict(target, raw, tmp_path / f"{step}.h5", step)
        name = "enhanced" if step == "enhanced" else "segmentor-consistency"
        assert np.array_equal(read_map(path)[0], read_map(target / name / "target.h5")[0])
    (path,) = predict(target, RawData(raw=raw.raw, slices="4:12"), tmp_path / "part.h5", "enhanced")
    assert read_map(path)[0].shape == (2, 8, *SHAPE[1:])
    np.save(tmp_path / "flat.npy", np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="volumes were expected"):
        predict(target, tmp_path / "flat.npy", tmp_path / "flat.h5", "enhanced")


def test_way_follows_from_voxels_unless_set(
    folder: Path, source: Path, flat_enhancer: Path, tmp_path: Path
) -> None:
    target = target_values(folder, source)["target"]
    with pytest.raises(InputError, match="enhancer in 3D, but ndim is 2"):
        opened(folder, source, ndim=2, enhanced={}, segmentor=None)
    _, long = opened(folder, flat_enhancer)
    assert "filters plane by plane, an enhancer in 2D on planes across z" in long
    _, cubes = opened(folder, flat_enhancer, target=target | {"voxel_size": (10, 10, 10)})
    assert "filters in 3D, an enhancer in 2D on planes across z and y and x" in cubes
    by_hand = {"features": {"scales": [0.7], "ndim": 3}, "enhanced": {"planes": "zyx"}}
    _, told = opened(folder, flat_enhancer, **by_hand)
    assert "filters in 3D, an enhancer in 2D on planes across z and y and x" in told
    _, stretched = opened(folder, source, target=target | {"voxel_size": (50, 10, 10)})
    assert "stretched along z by 2.5" in stretched
    with pytest.raises(InputError, match="voxels of different shapes"):
        values = source_values(folder)
        values["sources"][0] = values["sources"][0] | {"voxel_size": (90, 10, 10)}
        enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")


def test_a_part_of_a_volume_has_its_part_of_the_strokes(folder: Path, source: Path) -> None:
    target = target_values(folder, source)["target"] | {"slices": "2:14"}
    config = validated(AdaptConfig, target_values(folder, source) | {"target": target}, "test")
    part = open_target(config)
    (plane,) = part.planes
    with h5py.File(folder / "target.h5") as file:
        assert np.array_equal(part.drawn.strokes[0].read(), file["strokes"][2:14])
        assert np.array_equal(plane.raw.read(), file["raw"][2:14])


@pytest.fixture(scope="module")
def flat_enhancer(folder: Path) -> Path:
    """An enhancer in 2D, of planes of the same volumes."""
    values = source_values(folder) | {"ndim": 2, "source_net": None}
    values["forests"] |= {"patch": [16, 16]}
    values["probabilities"] |= {"patch": [32, 32]}
    values["enhancer"] = values["enhancer"] | {"patch": [16, 16], "steps": 4}
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), folder / "flat")
    return folder / "flat"


def test_enhancer_in_2d_sees_planes_across_the_axes(
    folder: Path, flat_enhancer: Path, tmp_path: Path
) -> None:
    found = {}
    for planes in ("z", "zyx"):
        values = target_values(folder, flat_enhancer) | {"segmentor": None, "compare": {}}
        values["enhanced"] = values["enhanced"] | {"planes": planes}
        adapt(validated(AdaptConfig, values, "test"), tmp_path / planes)
        found[planes] = read_map(tmp_path / planes / "enhanced" / "target.h5")[0]
    assert found["z"].shape == found["zyx"].shape == (2, *SHAPE)
    assert np.abs(found["z"] - found["zyx"]).max() > 1e-4


def test_exported_enhancer_in_3d_is_taken_by_adapt(
    folder: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bioimageio.core", reason="packages are tested by bioimageio.core, the extra export")
    package = export(source, tmp_path / "balls.zip", overrides=PACKAGE)
    values = target_values(folder, package) | {"segmentor": None, "compare": {}}
    adapt(validated(AdaptConfig, values, "test"), tmp_path / "run")
    again, first = (read_map(run / "enhanced" / "target.h5")[0] for run in (tmp_path / "run", target))
    assert np.array_equal(again, first)
    assert open_volume(target / "enhanced" / "target.h5").voxel_size == VOXEL
    with h5py.File(folder / "target.h5") as file:
        assert file["raw"].shape == SHAPE


def test_project_with_a_volume_is_enhanced_in_3d(folder: Path, source: Path, tmp_path: Path) -> None:
    with h5py.File(folder / "target.h5") as file:
        raw, strokes = (file[name][:][..., None] for name in ("raw", "strokes"))
    path = write_project(tmp_path / "p.ilp", [(raw, "zyxc", strokes)], ("ground", "ball"), in_2d=(True, True))
    run = tmp_path / "run"
    config = yaml.safe_dump({"enhanced": {"device": "cpu", "scales": [1.0]}, "target_forest": {"n_trees": 5}})
    (tmp_path / "config.yaml").write_text(config)
    flags = ("--ilp", path, "--enhancer", source, "--ndim", 3, "--run", run)
    done = s2d("adapt", tmp_path / "config.yaml", *flags)
    assert done.returncode == 0, done.stderr
    assert "an enhancer in 3D, poolings 1x2x2, 2x2x2" in done.stderr
    assert read_map(run / "enhanced" / "lane_0.h5")[0].shape == (2, *SHAPE)
    assert yaml.safe_load((run / "settings.yaml").read_text())["ndim"] == 3


def test_sizes_of_a_network_from_the_command_line(folder: Path, source: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(source_values(folder)))))
    told = [describe_network(name, (8, 16, 16)) for name in (config, source, source / "enhancer")]
    assert told[0] == told[1] == told[2]
    rows = dict(told[0])
    assert rows["inputs:"] == "multiples of 2 x 4 x 4 pixels"
    assert rows["receptive field:"].endswith("nm")
    with pytest.raises(InputError, match=r"8 x 18 x 16 do not divide by 2 x 4 x 4.* give 8 x 20 x 16"):
        describe_network(config, (8, 18, 16))
    done = s2d("network", source, "--patch", "8,x")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
