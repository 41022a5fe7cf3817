"""Measurements of shapes that are known."""

import numpy as np
import pytest

from shallow2deep.segmentation.measurements import measured


def test_of_an_image_in_pixels_and_micrometres() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 20:50], labels[30, 5] = 1, 2
    raw = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    table = measured(labels, (500.0, 250.0), {"raw": raw})
    assert table["label"].tolist() == [1, 2]
    assert table["area_px"].tolist() == [300, 1]
    assert table["area_um2"].tolist() == [37.5, 0.125]
    assert (table["centroid_y_px"][0], table["centroid_x_px"][0]) == (14.5, 34.5)
    assert (table["centroid_y_um"][0], table["centroid_x_um"][0]) == (7.25, 8.625)
    assert [int(table[f"bbox_{side}"][0]) for side in ("y_start", "y_stop", "x_start", "x_stop")] == [
        10,
        20,
        20,
        50,
    ]
    assert table["axis_major_px"][0] == pytest.approx(4 * np.sqrt((30**2 - 1) / 12), rel=0.01)
    assert table["axis_major_um"][0] == pytest.approx(table["axis_major_px"][0] / 4, rel=0.01)
    assert table["raw_mean"][0] == pytest.approx(raw[10:20, 20:50].mean())
    assert (table["raw_min"][1], table["raw_max"][1]) == (raw[30, 5], raw[30, 5])


def test_without_a_voxel_size_there_are_no_units() -> None:
    table = measured(np.eye(5, dtype=np.int32))
    assert [name for name in table if "um" in name] == []


def test_of_a_volume_with_channels() -> None:
    labels = np.zeros((4, 10, 10), np.int32)
    labels[1:3, 2:6, 2:6] = 1
    raw = np.stack([labels * 3.0, labels * 5.0])
    table = measured(labels, (1000.0, 100.0, 100.0), {"raw": raw})
    assert table["volume_voxels"].tolist() == [32]
    assert table["volume_um3"][0] == pytest.approx(0.32)
    assert table["centroid_z_um"][0] == 1.5
    assert (table["raw_c0_mean"][0], table["raw_c1_mean"][0]) == (3, 5)
    assert "eccentricity" not in table


@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7)])
def test_of_nothing_there_are_the_same_columns(shape: tuple[int, ...]) -> None:
    size, raw = (100.0,) * len(shape), np.ones(shape)
    some = np.zeros(shape, np.int32)
    some[..., 2:4, 2:4] = 1
    nothing = measured(0 * some, size, {"raw": raw})
    assert list(nothing) == list(measured(some, size, {"raw": raw}))
    assert {len(column) for column in nothing.values()} == {0}
