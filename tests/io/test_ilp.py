"""ilastik projects: every label where it was painted, data found where they are, all else refused."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ilp_file import axistags, write_project

from shallow2deep.errors import DamagedFileError, InputError, Shallow2DeepError
from shallow2deep.io.ilp import lane_frames, open_project, read_labels

SIZES = {"t": 3, "c": 2, "z": 4, "y": 11, "x": 13}


def made_up(axes: str, seed: int, label_axes: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Raw, and labels with one channel, both in the order of their axes."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 255, [SIZES[a] for a in axes], np.uint8)
    shape = [1 if a == "c" else SIZES[a] for a in label_axes or axes]
    return raw, rng.integers(0, 3, shape) * (rng.random(shape) < 0.1)


@pytest.mark.parametrize("axes", ["yxc", "cyx", "xyc", "zyxc", "zcyx", "tyxc", "tzyxc", "txyzc", "ctzyx"])
@settings(max_examples=5)
@given(st.integers(0, 99))
def test_labels_are_read_exactly(axes: str, tmp_path: Path, seed: int) -> None:
    raw, labels = made_up(axes, seed)
    project = open_project(write_project(tmp_path / "p.ilp", [(raw, axes, labels)]))
    frames = lane_frames(project, project.lanes[0])
    found = read_labels(project, project.lanes[0], frames)
    order = [axes.index(a) for a in "tczyx" if a in axes]
    expected = labels.transpose(order).reshape(len(frames), *frames[0].spatial_shape)
    np.testing.assert_array_equal(found, expected)
    pixels = raw.transpose(order).reshape(len(frames), *frames[0].shape)
    np.testing.assert_array_equal([frame.read() for frame in frames], pixels)
    counts = project.label_counts(project.lanes[0])
    assert counts == {n: (labels == n).sum() for n in (1, 2) if (labels == n).any()}


@pytest.mark.parametrize(("version", "label_axes"), [("1.2.2", "yxc"), ("1.3.3", "cyx")])
def test_labels_without_axes_of_their_own(tmp_path: Path, version: str, label_axes: str) -> None:
    raw, labels = made_up("cyx", 0, label_axes)
    made = write_project(
        tmp_path / "p.ilp", [(raw, "cyx", labels)], version=version, tagged=False, label_axes=label_axes
    )
    project = open_project(made)
    (found,) = read_labels(project, project.lanes[0], lane_frames(project, project.lanes[0]))
    np.testing.assert_array_equal(found, labels.squeeze(label_axes.index("c")))


def test_a_z_axis_of_one_plane_is_left_out(tmp_path: Path) -> None:
    raw = np.zeros((1, 11, 13, 1), np.uint8)
    labels = np.zeros_like(raw)
    labels[0, 3, 4] = 2
    project = open_project(write_project(tmp_path / "p.ilp", [(raw, "zyxc", labels)]))
    frames = lane_frames(project, project.lanes[0])
    assert frames[0].axes == "cyx"
    (found,) = read_labels(project, project.lanes[0], frames)
    assert found.shape == (11, 13)
    assert found[3, 4] == 2


def test_data_are_found_relative_absolute_and_beside(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "raw.h5", "w") as file:
        file["volume/data"] = raw
    np.save(tmp_path / "beside.npy", raw)
    names = [
        "data/raw.h5/volume/data",
        f"{tmp_path}/data/raw.h5/volume/data",
        "/gone/with/beside.npy",
        "C:\\gone\\beside.npy",
    ]
    project = open_project(write_project(tmp_path / "p.ilp", [(name, "yxc", labels) for name in names]))
    for lane in project.lanes:
        np.testing.assert_array_equal(lane_frames(project, lane)[0].read(), np.moveaxis(raw, -1, 0))


@pytest.mark.parametrize("name", ["gone.png", "slices/*.png", "precomputed://https://example.org/x"])
def test_data_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    _, labels = made_up("yxc", 0)
    project = open_project(write_project(tmp_path / "p.ilp", [(name, "yxc", labels)]))
    with pytest.raises(InputError, match="name the data by --raw"):
        lane_frames(project, project.lanes[0])


def test_data_inside_by_class_and_inner_path(tmp_path: Path) -> None:
    raw = np.arange(30, dtype=np.uint8).reshape(5, 6, 1)
    path = write_project(tmp_path / "p.ilp", [(raw, "yxc", np.zeros_like(raw))])
    with h5py.File(path, "r+") as file:
        info = file["Input Data/infos/lane0000/Raw Data"]
        del info["location"], info["datasetId"]
        info["__class__"], info["inner_path"] = "ProjectInternalDatasetInfo", "/Input Data/local_data/id-0"
    project = open_project(path)
    (volume,) = lane_frames(project, project.lanes[0])
    assert np.array_equal(volume.read().squeeze(), raw.squeeze())


def test_trainable_domain_adaptation(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)
    workflow = "Trainable Domain Adaptation (Local)"
    project = open_project(write_project(tmp_path / "p.ilp", [(raw, "yxc", labels)], workflow=workflow))
    assert project.label_names == ("Label 1", "Label 2")
    assert project.selection[0] == ("GaussianSmoothing", 0.7, False)


def test_what_is_no_such_project_is_refused(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)
    other = write_project(tmp_path / "other.ilp", [(raw, "yxc", labels)], workflow="Carving")
    with pytest.raises(InputError, match='"Carving"; give a project of Pixel'):
        open_project(other)
    (tmp_path / "text.ilp").write_text("no HDF5")
    with pytest.raises(InputError, match="not HDF5"):
        open_project(tmp_path / "text.ilp")
    with pytest.raises(InputError, match="no such file"):
        open_project(tmp_path / "gone.ilp")
    os.mkfifo(tmp_path / "pipe.ilp")
    with pytest.raises(InputError, match="no regular file"):
        open_project(tmp_path / "pipe.ilp")


def test_labels_outside_of_the_data_are_refused(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)
    project = open_project(write_project(tmp_path / "p.ilp", [(raw[:6, :6], "yxc", labels)]))
    with pytest.raises(InputError, match="outside"):
        read_labels(project, project.lanes[0], lane_frames(project, project.lanes[0]))


@pytest.mark.parametrize(
    "attributes",
    [
        {"blockSlice": "[0:9999999999,0:1,0:1]"},
        {"blockSlice": "[__import__('os').system('true')]"},
        {"axistags": axistags("yyc")},
        {"axistags": "{"},
    ],
)
def test_crafted_labels_are_refused(tmp_path: Path, attributes: dict) -> None:
    raw, labels = made_up("yxc", 0)
    path = write_project(tmp_path / "p.ilp", [(raw, "yxc", labels)])
    with h5py.File(path, "r+") as file:
        file["PixelClassification/LabelSets/labels000/block0000"].attrs.update(attributes)
    project = open_project(path)  # which does not stop a forest that is there from predicting
    with pytest.raises(DamagedFileError, match="labels of lane 0 cannot be read"):
        read_labels(project, project.lanes[0], lane_frames(project, project.lanes[0]))
    with pytest.raises(DamagedFileError, match="labels of lane 0 cannot be read"):
        project.label_counts(project.lanes[0])


@pytest.mark.parametrize("axes", ["yxc", "cyx", "zyxc", "tzyxc"])
def test_data_of_another_shape_are_refused(axes: str, tmp_path: Path) -> None:
    """Such as a file that was replaced, or another level of an image pyramid."""
    raw, labels = made_up(axes, 0)
    np.save(tmp_path / "raw.npy", raw)
    path = write_project(tmp_path / "p.ilp", [("raw.npy", axes, labels)], shapes=True)
    project = open_project(path)
    read_labels(project, project.lanes[0], lane_frames(project, project.lanes[0]))
    for axis in axes:
        larger = raw.repeat(2, axes.index(axis))
        np.save(tmp_path / "raw.npy", larger)
        said = rf"had shape \({', '.join(map(str, raw.shape))}\) \({axes}\), but \S+raw.npy.* has \(.*--raw"
        with pytest.raises(InputError, match=said):
            lane_frames(project, project.lanes[0])
        if axis in "zyx":  # which may hold all labels all the same
            given = lane_frames(project, project.lanes[0], f"{tmp_path}/raw.npy")
            with pytest.raises(InputError, match="had shape"):
                read_labels(project, project.lanes[0], given)


@pytest.mark.parametrize(
    ("version", "axes", "shape", "label_axes"),
    [
        ("1.3.3", "yx", (11, 13), "txyzc"),
        ("1.3.3post1", "tyxc", (3, 11, 13, 1), "txyzc"),
        ("1.3.3", "zyxc", (4, 11, 13, 2), "txyzc"),
        ("1.4.0", "zyxc", (1, 11, 13, 2), "yxc"),
        ("1.3.3post3", "tzyxc", (1, 1, 11, 13, 1), "zyxc"),
        ("1.3.3post3", "tzyxc", (1, 1, 11, 13, 1), "yxc"),
    ],
)
def test_labels_whose_axes_are_those_of_their_release(
    version: str, axes: str, shape: tuple[int, ...], label_axes: str, tmp_path: Path
) -> None:
    sizes = dict(zip(axes, shape, strict=True)) | {"c": 1}
    rng = np.random.default_rng(0)
    drawn = [sizes.get(a, 1) for a in label_axes]
    labels = rng.integers(0, 3, drawn) * (rng.random(drawn) < 0.2)
    path = write_project(
        tmp_path / "p.ilp", [(np.zeros(shape, np.uint8), axes, labels)], version=version, tagged=False,
        label_axes=label_axes,
    )  # fmt: skip
    project = open_project(path)
    frames = lane_frames(project, project.lanes[0])
    found = np.stack(read_labels(project, project.lanes[0], frames))
    order = [label_axes.index(a) for a in "tczyx" if a in label_axes]
    assert np.array_equal(found, labels.transpose(order).reshape(found.shape))


def test_labels_have_the_axes_of_the_file_in_some_releases(tmp_path: Path) -> None:
    raw = np.zeros((6, 6, 1), np.uint8)
    labels = np.zeros((6, 6, 1), np.uint8)
    labels[1, 4] = 2  # x 1, y 4 in the file's order
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["raw"] = raw
        file["raw"].attrs["axistags"] = axistags("xyc")
    for version, place in (("1.3.3post3", (4, 1)), ("1.4.0b7", (4, 1)), ("1.4.0", (1, 4))):
        path = tmp_path / f"{version}.ilp"
        project = open_project(
            write_project(path, [("raw.h5/raw", "yxc", labels)], version=version, tagged=False)
        )
        (found,) = read_labels(project, project.lanes[0], lane_frames(project, project.lanes[0]))
        assert np.argwhere(found).tolist() == [list(place)], version


def test_addresses_of_files(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)
    folder = tmp_path / "a b"
    group = zarr.open_group(folder / "im.ome.zarr", mode="w", zarr_format=2)
    group.create_array("s0", data=raw, chunks=(8, 8, 2))
    address = (folder / "im.ome.zarr").as_uri()
    names = [address, f"{address}/s0", "file:///C:/data/im.ome.zarr/s0", str(folder / "im.ome.zarr" / "s0")]
    assert "%20" in address
    project = open_project(write_project(folder / "p.ilp", [(name, "yxc", labels) for name in names]))
    for lane in project.lanes:
        np.testing.assert_array_equal(lane_frames(project, lane)[0].read(), np.moveaxis(raw, -1, 0))
        assert lane.stem == "im.ome"


def test_projects_that_lead_elsewhere_or_claim_too_much(tmp_path: Path) -> None:
    raw, labels = made_up("yxc", 0)

    def project(name: str) -> Path:
        return write_project(tmp_path / f"{name}.ilp", [(raw, "yxc", labels)])

    group = "PixelClassification/ClassifierForests"
    with h5py.File(project("linked"), "r+") as file:
        file[f"{group}/Forest0000"] = h5py.ExternalLink("secret.h5", "/")
    with h5py.File(project("kept"), "r+") as file:
        file.create_dataset("Input Data/x", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    with h5py.File(project("large"), "r+") as file:
        file.create_dataset(f"{group}/Forest0000/topology", (10**10,), "i4", chunks=True, compression="gzip")
    for name, said in (("linked", "another file"), ("kept", "another file"), ("large", "claims far more")):
        with pytest.raises(InputError, match=said):
            open_project(tmp_path / f"{name}.ilp")


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage_gives_one_of_our_errors_or_nothing(tmp_path: Path, place: int, value: int) -> None:
    raw, labels = made_up("yxc", 0)
    path = write_project(tmp_path / "p.ilp", [(raw, "yxc", labels)])
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    try:
        project = open_project(path)
        for lane in project.lanes:
            read_labels(project, lane, lane_frames(project, lane))
    except Shallow2DeepError:
        pass


PAINTED = {
    1: {(0, 1, 2), (0, 1, 3), (0, 6, 8), (0, 6, 9)},
    2: {(0, 2, 2), (0, 2, 3), (0, 7, 8), (0, 7, 9)},
}


def test_labels_of_real_projects(shared_data: Path) -> None:
    """Coordinates as listed beside the projects; one of them holds its two labels exchanged."""
    paths = sorted((shared_data / "ilastik/pyilastik/dimensionstest").glob("x15*classes2*.ilp"))
    assert len(paths) == 10
    for path in paths:
        project = open_project(path)
        (lane,) = project.lanes
        (found,) = read_labels(project, lane, lane_frames(project, lane))
        volume = found if found.ndim == 3 else found[None]
        expected = {
            n: places | ({(1, 3, 4)} if n == 1 and len(volume) == 2 else set())
            for n, places in PAINTED.items()
        }
        if path.name == "x15_y10_z1_rgb_classes2.ilp":
            expected = {1: expected[2], 2: expected[1]}
        assert {n: set(map(tuple, np.argwhere(volume == n).tolist())) for n in (1, 2)} == expected, path


def test_rectangles_in_a_large_real_project(shared_data: Path) -> None:
    for name in ("x502_y251_z5_c1_classes2.ilp", "x502_y251_z5_c1_classes2_ilastik1.3.3.ilp"):
        project = open_project(shared_data / "ilastik/pyilastik/dimensionstest" / name)
        (lane,) = project.lanes
        (found,) = read_labels(project, lane, lane_frames(project, lane))
        expected = np.zeros((5, 251, 502), np.uint8)
        expected[0:2, 4:8, 2:5] = 1
        expected[0, 94:96, 159:163] = 1
        expected[0, 242:245, 481:484] = 1
        expected[0, 96:100, 159:161] = 2
        expected[0, 242:245, 486] = expected[0, 243, 485:488] = 2
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("api_projects/Autocontext_2D.ilp", "AutocontextTwoStage"),
        ("pyilastik/ilastik-0.5.ilp", "ilastik 0.5"),
        ("test_projects_1.2/inputdata/pc-oc-133.ilp", "Object Classification"),
    ],
)
def test_other_real_projects_are_refused(shared_data: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_project(shared_data / "ilastik" / name)
