"""Whole runs of adapt: maps of every image, the same bytes every time, and nothing done twice."""

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from tiny import N_IMAGES, SIZE, Data, artifacts

from shallow2deep import adapt, enhancer_train, predict
from shallow2deep.commands.status import status
from shallow2deep.io.map_files import read_map
from shallow2deep.io.volumes import open_volume


def test_target_run_makes_maps_of_every_image(target_run: Path) -> None:
    for stage in ("target_forest", "enhanced", "prediction"):
        maps = sorted((target_run / stage).glob("*.h5"))
        assert [m.name for m in maps] == [f"target{n}_raw.h5" for n in range(4)]
        p, outputs = read_map(maps[0])
        assert [output.title for output in outputs] == ["background", "disc"]
        assert p.shape == (2, SIZE, SIZE)
        assert p.min() >= 0
        assert p.sum(0) == pytest.approx(1, abs=1e-6)
    assert {state.word for state in status(target_run).stages.values()} == {"finished"}


def test_same_command_twice_gives_the_same_bytes_for_any_number_of_workers(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path
) -> None:
    settings = data.source_values()["enhancer"]
    config = data.source(
        jobs=1, enhancer=settings | {"workers": 2, "checkpoint_every": 5}, source_net=settings
    )
    enhancer_train(config, tmp_path / "source")
    assert artifacts(tmp_path / "source") == artifacts(source_run)
    adapt(data.target(source_run, jobs=1), tmp_path / "target")
    assert artifacts(tmp_path / "target") == artifacts(target_run)


def test_finished_runs_do_nothing(data: Data, source_run: Path, target_run: Path) -> None:
    def times(run: Path) -> dict:
        return {p: p.stat().st_mtime_ns for stage in run.glob("*/") for p in stage.rglob("*")}

    before = times(source_run), times(target_run)
    enhancer_train(data.source(source_net=data.source_values()["enhancer"]), source_run)
    adapt(data.target(source_run), target_run)
    assert before == (times(source_run), times(target_run))


def test_killed_while_a_stale_stage_was_removed(target_run: Path, data: Data, tmp_path: Path) -> None:
    """What is left of old artifacts is not taken for new ones."""
    run = shutil.copytree(target_run, tmp_path / "run")
    (run / "target_forest" / "manifest.json").unlink()
    for old in (run / "target_forest").glob("*.h5"):
        old.write_bytes(b"old")
    enhancer = target_run.with_name("source")
    adapt(data.target(enhancer), run)
    for old in (run / "target_forest").glob("*.h5"):
        assert old.read_bytes() == (target_run / "target_forest" / old.name).read_bytes()


def test_a_time_series_is_adapted_as_its_images(
    target_run: Path, source_run: Path, data: Data, tmp_path: Path
) -> None:
    for kind in ("raw", "strokes"):
        images = np.stack([iio.imread(data.folder / f"target{n}_{kind}.png") for n in range(N_IMAGES)])
        tifffile.imwrite(tmp_path / f"movie_{kind}.tif", images, imagej=True, metadata={"axes": "TYX"})
    movie = {"raw": str(tmp_path / "movie_raw.tif"), "strokes": str(tmp_path / "movie_strokes.tif")}
    adapt(data.target(source_run, target=movie), tmp_path / "run")
    written = predict(tmp_path / "run", movie["raw"], tmp_path / "out", "enhanced")
    for n, path in enumerate(written):
        assert path.name == f"movie_raw_t{n}.h5"
        expected = open_volume(target_run / "enhanced" / f"target{n}_raw.h5").read()
        np.testing.assert_array_equal(open_volume(tmp_path / "run" / "enhanced" / path.name).read(), expected)
        np.testing.assert_allclose(open_volume(path).read(), expected, atol=1e-6)
