"""Planes linked into volumes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shallow2deep.segmentation.instances import instances
from shallow2deep.segmentation.linking import ious, linked, mutual_best, overlaps
from shallow2deep.settings import ObjectsSettings


def test_objects_go_on_where_they_overlap() -> None:
    planes = np.zeros((3, 10, 20), int)
    planes[0, 2:8, 2:8], planes[0, 2:8, 12:18] = 1, 2
    planes[1, 2:8, 3:9], planes[1, 2:8, 12:18] = 2, 1
    planes[2, 2:8, 17:20] = 1
    found = linked(planes, 0.25)
    assert found.max() == 3
    assert found[0, 5, 5] == found[1, 5, 5] == 1
    assert found[0, 5, 15] == found[1, 5, 15] == 2
    assert found[2, 5, 18] == 3  # it overlaps too little


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_numbers_have_no_gaps_and_planes_keep_their_objects(seed: int, least: float) -> None:
    planes = np.random.default_rng(seed).integers(0, 4, (4, 6, 6))
    found = linked(planes, least)
    assert np.setdiff1d(np.unique(found), 0).tolist() == list(range(1, found.max() + 1))
    for before, after in zip(planes, found, strict=True):
        pairs = set(zip(before.ravel().tolist(), after.ravel().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_iou_by_hand() -> None:
    a, b = np.array([[1, 1, 2, 0]]), np.array([[1, 3, 3, 3]])
    rows, columns, values = ious(overlaps(a, b))
    found = {(int(i), int(j)): float(v) for i, j, v in zip(rows, columns, values, strict=True)}
    assert found == {(1, 1): 1 / 2, (1, 3): 1 / 4, (2, 3): 1 / 3}
    assert mutual_best(rows, columns, values, 0.3) == [(1, 1), (2, 3)]


def test_a_volume_by_planes() -> None:
    z, y, x = np.indices((12, 40, 60))
    p = np.zeros(z.shape, np.float32)
    for centre in (20, 38):
        p[((z - 6) * 2) ** 2 + (y - 20) ** 2 + (x - centre) ** 2 < 10**2] = 1
    found = instances(p, settings=ObjectsSettings(by_planes=True), voxel_size=(200, 100, 100))
    assert found.max() == 2
    assert found[6, 20, 20] != found[6, 20, 38]
    assert found[4, 20, 20] == found[8, 20, 20]
