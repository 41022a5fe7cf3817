"""Objects from maps: what always holds, and shapes whose objects are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.measure import euler_number, label
from skimage.morphology import local_maxima, reconstruction

from shallow2deep.errors import InputError
from shallow2deep.segmentation.instances import filled, instances, parted, selected
from shallow2deep.settings import ObjectsSettings

ALL = ObjectsSettings(min_size=0)


def discs(shape: tuple[int, ...], *places: tuple) -> np.ndarray:
    """Balls of centre and radius, 1 inside, as float32."""
    grid = np.indices(shape)
    found = np.zeros(shape, np.float32)
    for *centre, radius in places:
        moved = grid - np.reshape(centre, (-1, *(1,) * len(shape)))
        found[(moved**2).sum(0) <= radius**2] = 1
    return found


def noise(seed: int, shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndi.gaussian_filter(rng.normal(size=shape), rng.uniform(0.5, 4))
    return ((smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)).astype(np.float32)


@settings(max_examples=40)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["blobs", "cells"]),
    st.sampled_from([(40, 50), (8, 20, 24)]),
    st.booleans(),
    st.booleans(),
    st.floats(0, 30),
)
def test_what_holds_for_all_objects(
    seed: int, kind: str, shape: tuple[int, ...], clear: bool, planes: bool, min_size: float
) -> None:
    """Numbers without gaps, each one connected part without holes and of a size asked for."""
    p = noise(seed, shape)
    how = ObjectsSettings(kind=kind, clear_border=clear, min_size=min_size, max_size=600, by_planes=planes)
    found = instances(p, None, how)
    assert found.dtype == np.int32
    assert found.shape == shape
    numbers, sizes = np.unique(found[found > 0], return_counts=True)
    assert numbers.tolist() == list(range(1, len(numbers) + 1))
    assert ((sizes >= min_size) & (sizes <= 600)).all()
    if kind == "blobs" and not planes:  # what is added to the foreground is enclosed by it, or small
        parts = label(~ndi.binary_fill_holes(p > 0.5), connectivity=1)
        wide = (np.bincount(parts.ravel()) > min_size)[parts] & (parts > 0)
        assert not (wide & (found > 0)).any()
    for number in numbers if not planes else []:
        assert label(found == number, connectivity=1).max() == 1
        assert filled(found == number).sum() == (found == number).sum()
    if clear:
        assert not (found.astype(bool) & edge(shape)).any()


def edge(shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[(slice(1, -1),) * len(shape)] = True
    return ~inside


@pytest.mark.parametrize("ndim", [2, 3])
def test_touching_balls_are_parted_and_bumps_are_not(ndim: int) -> None:
    shape, middle = (40,) * (ndim - 1) + (70,), (20,) * (ndim - 1)
    touching = discs(shape, (*middle, 22, 12), (*middle, 42, 11))
    found = instances(touching)
    assert found.max() == 2
    assert (found > 0).sum() == touching.sum()
    sizes = np.bincount(found.ravel())[1:]
    assert sizes.max() / sizes.min() < 2
    assert instances(touching, settings=ObjectsSettings(split=10)).max() == 1
    assert instances(discs(shape, (*middle, 30, 12), (*middle, 33, 12))).max() == 1


def test_a_boundary_parts_where_the_shape_does_not() -> None:
    p = np.zeros((30, 60), np.float32)
    p[5:25, 5:55] = 1
    ridge = np.zeros_like(p)
    ridge[5:25, 24:27] = 0.9
    assert instances(p).max() == 1
    found = instances(p, ridge)
    assert found.max() == 2
    assert (found > 0).sum() == p.sum()  # the boundary's pixels belong to the objects beside it
    assert set(np.unique(found[:, :24])) == {0, 1}
    assert set(np.unique(found[:, 27:])) == {0, 2}


def test_cells_are_what_membranes_part() -> None:
    membranes = np.zeros((60, 60), np.float32)
    membranes[19:22], membranes[39:42], membranes[:, 29:32] = 0.9, 0.9, 0.9
    found = instances(membranes, settings=ObjectsSettings(kind="cells"))
    assert found.max() == 6
    assert (found > 0).all()  # cells meet in the membranes
    assert len({int(found[y, x]) for y in (10, 30, 50) for x in (10, 50)}) == 6
    assert np.ptp(np.bincount(found.ravel())[1:]) < 200
    volume = np.repeat(membranes[None], 8, 0)
    volume[3:5] = 0.9
    assert instances(volume, settings=ObjectsSettings(kind="cells")).max() == 12


def test_holes_of_one_object_are_filled_and_gaps_between_objects_are_not() -> None:
    ring = discs((60, 60), (30, 30, 20)) - discs((60, 60), (30, 30, 2))
    assert euler_number(ring > 0, connectivity=2) == 0
    found = instances(ring)
    assert found.max() == 1
    assert (found > 0).sum() == discs((60, 60), (30, 30, 20)).sum()
    several = np.zeros((20, 20), np.int32)
    several[5:15, 5:10], several[5:15, 10:15] = 1, 2
    several[8:12, 8:12], several[6, 6] = 0, 0
    out = filled(several)
    assert (out[8:12, 8:12] == 0).all()
    assert out[6, 6] == 1


def test_sizes_in_units_and_borders() -> None:
    p = discs((60, 60), (15, 15, 3), (40, 40, 10), (0, 50, 6))
    assert instances(p, settings=ALL).max() == 3
    assert instances(p, settings=ObjectsSettings(clear_border=True)).max() == 2
    size = (500.0, 500.0)
    assert instances(p, settings=ObjectsSettings(min_size="10 um2"), voxel_size=size).max() == 2
    assert instances(p, settings=ObjectsSettings(max_size="10 um2"), voxel_size=size).max() == 1
    for limit, voxels, sentence in (
        ("10 um2", None, "voxel size is not known"),
        ("10 um3", size, "images with 2 axes"),
    ):
        with pytest.raises(InputError, match=sentence):
            instances(p, settings=ObjectsSettings(min_size=limit), voxel_size=voxels)


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_turned_images_have_turned_objects(seed: int) -> None:
    """How many there are depends on the order of the axes only where distances are equal."""
    p = noise(seed)
    anisotropic, turned = (90.0, 30.0), (30.0, 90.0)
    one, other = instances(p, None, ALL, anisotropic), instances(p.T, None, ALL, turned)
    assert (one > 0)[p > 0.5].all()
    assert (other.T > 0)[p > 0.5].all()
    assert abs(int(one.max()) - int(other.max())) <= 0.1 * one.max() + 1


def test_distances_respect_the_voxel_size() -> None:
    """Two balls that touch along z, in a volume whose planes are four times as far apart as its pixels."""
    fine = discs((96, 40, 40), (32, 20, 20, 18), (62, 20, 20, 18))
    coarse = fine[::4]
    assert instances(fine).max() == 2
    assert instances(coarse, voxel_size=(400.0, 100.0, 100.0)).max() == 2
    upright = np.moveaxis(coarse, 0, 2)
    found = instances(upright, voxel_size=(100.0, 100.0, 400.0))
    np.testing.assert_array_equal(np.bincount(found.ravel()), np.bincount(instances(
        coarse, voxel_size=(400.0, 100.0, 100.0)).ravel()))  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1, 1, 1), (3, 1, 4)])
@pytest.mark.parametrize("kind", ["blobs", "cells"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_smallest_images(shape: tuple[int, ...], kind: str, value: float) -> None:
    how = ObjectsSettings(kind=kind, min_size=0)
    found = instances(np.full(shape, value, np.float32), settings=how)
    assert found.max() == ((value == 1) == (kind == "blobs"))


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0.7, 1.0, 2.0]))
def test_the_number_of_objects_is_that_of_the_maxima_of_that_height(seed: int, depth: float) -> None:
    """Against scikit-image's reconstruction, which is slower: the regional maxima after it, by part."""
    mask = noise(seed) > 0.5
    if mask.all() or not mask.any():
        return
    distance = ndi.distance_transform_edt(mask)
    height = np.where(mask, distance, -10 - depth)
    cut = reconstruction(height - depth - 1e-9, height, footprint=ndi.generate_binary_structure(2, 1))
    maxima = label(local_maxima(cut, connectivity=1) & mask, connectivity=1).max()
    assert len(np.unique(parted(mask, mask, None, depth))) - 1 == maxima


def test_selected_numbers_anew() -> None:
    labels = np.array([[5, 5, 0, 9, 0, 2, 2, 2]])
    assert selected(labels, ObjectsSettings(min_size=2)).tolist() == [[2, 2, 0, 0, 0, 1, 1, 1]]
