"""Another pixel size: as scikit-image resizes, the same in every window, and without aliases."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from shallow2deep.errors import InputError
from shallow2deep.io.resampled import at_pixel_size, labels_at_pixel_size
from shallow2deep.io.volumes import Volume, open_volume


def volume_of(array: np.ndarray, folder: Path) -> Volume:
    np.save(folder / "a.npy", array)
    return open_volume(folder / "a.npy")


@pytest.mark.parametrize("pixel_size", [4.0, 8.0, 17.0, 30.0])
def test_as_scikit_image(pixel_size: float, tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(61, 80))
    found = at_pixel_size(volume_of(image, tmp_path), pixel_size, (8.0, 10.0))
    assert found.shape == (round(61 * 8 / pixel_size), round(80 * 10 / pixel_size))
    assert found.voxel_size == (pixel_size, pixel_size)
    expected = resize(image, found.shape, order=1, mode="symmetric", anti_aliasing=True)
    assert np.allclose(found.read(), expected, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_windows_have_the_bytes_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    image = np.random.default_rng(0).integers(0, 60000, (2, 37, 50)).astype(np.uint16)
    size = data.draw(st.sampled_from([3.0, 10.0, 11.0, 26.0]))
    make = data.draw(st.sampled_from([at_pixel_size, labels_at_pixel_size]))
    found = make(volume_of(image, tmp_path_factory.mktemp("a")), size, (5.0, 10.0, 10.0))
    starts = [data.draw(st.integers(0, n - 1)) for n in found.shape]
    window = tuple(slice(a, data.draw(st.integers(a, n))) for a, n in zip(starts, found.shape, strict=True))
    part = found.read(window)
    assert part.dtype == np.uint16
    assert np.array_equal(part, found.read()[window])


def test_labels_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.kron(np.arange(12).reshape(3, 4) * 1000, np.ones((8, 8), int)).astype(np.uint16)
    coarse = labels_at_pixel_size(volume_of(labels, tmp_path), 40.0, (10.0, 10.0)).read()
    assert np.array_equal(coarse, labels[2::4, 2::4])
    assert np.array_equal(
        labels_at_pixel_size(volume_of(labels, tmp_path), 5.0, (10.0, 10.0)).read()[::2, ::2], labels
    )


def test_fine_stripes_do_not_become_coarse_ones(tmp_path: Path) -> None:
    stripes = np.tile([0, 200], (64, 32)).astype(np.uint8)
    found = at_pixel_size(volume_of(stripes, tmp_path), 43.0, (10.0, 10.0)).read()
    assert np.ptp(found[:, 2:-2]) < 20
    assert abs(found.mean() - 100) < 3


def test_it_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its pixel size is not known.*state voxel_size"):
        at_pixel_size(volume_of(np.zeros((8, 8)), tmp_path), 8.0, None)
