"""Predicting as ilastik does with the forest of a project, and what is in one."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from ilp_file import painted
from tiny import SIZE
from typer.testing import CliRunner

from shallow2deep.cli import app
from shallow2deep.commands.project import predict_project
from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume


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


def test_raw_that_is_not_finite_is_refused(flat: Path, tmp_path: Path) -> None:
    raw = painted(5)[0].astype(np.float32)
    raw[3, 4] = np.nan
    np.save(tmp_path / "raw.npy", raw)
    with pytest.raises(InputError, match=r"\(3, 4\)"):
        predict_project(flat, tmp_path / "out", [str(tmp_path / "raw.npy")])
    assert not (tmp_path / "out").exists()


def test_data_of_another_range_are_refused_or_rescaled(flat: Path, tmp_path: Path) -> None:
    raw = painted(200)[0]
    np.save(tmp_path / "same.npy", raw)
    np.save(tmp_path / "bits16.npy", raw.astype(np.uint16) * 200 + 1000)
    with pytest.raises(InputError, match=r"bits16.npy.*\(uint16\), but .* project .*\(uint8\).*rescale"):
        predict_project(flat, tmp_path / "out", [str(tmp_path / "*.npy")])
    assert not (tmp_path / "out").exists()
    arguments = ["ilp", "predict", str(flat), "--out", str(tmp_path / "out"), "--rescale"]
    arguments += ["--raw", str(tmp_path / "same.npy"), "--raw", str(tmp_path / "bits16.npy")]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    same, other = (open_volume(tmp_path / "out" / f"{name}.h5").read() for name in ("same", "bits16"))
    assert abs(same - other).mean() < 0.01


def test_where_no_painted_image_is_found_any_range_is_predicted(flat: Path, tmp_path: Path) -> None:
    """As the range of the forest is not known then; to rescale to it is refused."""
    with h5py.File(flat, "r+") as file:
        for lane in file["Input Data/infos"].values():
            del lane["Raw Data/location"]
            lane["Raw Data/location"], lane["Raw Data/filePath"] = "FileSystem", "gone.npy"
    np.save(tmp_path / "other.npy", painted(200)[0].astype(np.uint16) * 200)
    with pytest.raises(InputError, match="not all found"):
        predict_project(flat, tmp_path / "out", [str(tmp_path / "other.npy")], rescale=True)
    assert len(predict_project(flat, tmp_path / "out", [str(tmp_path / "other.npy")])) == 1


def test_results_never_take_the_place_of_what_they_are_made_from(flat: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "a.h5"
    raw.parent.mkdir()
    with h5py.File(raw, "w") as file:
        file["raw"] = painted(5)[0]
    before = raw.read_bytes()
    with pytest.raises(InputError, match="would overwrite"):
        predict_project(flat, raw.parent, [f"{raw}:raw"])
    assert raw.read_bytes() == before


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
    off = assert_by_ilastiks_rule(folder / project, np.load(folder / result), axes, tmp_path)
    assert off.max() < 1e-6


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
