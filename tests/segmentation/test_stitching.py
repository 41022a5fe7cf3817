"""Objects found block by block are those of the whole map, and so are their measurements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.measure import label
from skimage.segmentation import clear_border, relabel_sequential

from shallow2deep.inference.predictor import ArraySource
from shallow2deep.segmentation.measurements import measured
from shallow2deep.segmentation.stitching import stitched
from shallow2deep.settings import ObjectsSettings


@given(
    shape=st.lists(st.integers(3, 24), min_size=2, max_size=3),
    block=st.lists(st.integers(2, 12), min_size=3, max_size=3),
    threshold=st.floats(0.3, 0.8),
    least=st.integers(0, 12),
    clear=st.booleans(),
    seed=st.integers(0, 9),
)
def test_as_of_the_whole_map_up_to_names(
    shape: list[int], block: list[int], threshold: float, least: int, clear: bool, seed: int
) -> None:
    p = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), 0.7)
    p = (p - p.min()) / np.ptp(p)
    size = (40.0, 10.0, 20.0)[-len(shape) :]
    settings = ObjectsSettings(min_size=least, clear_border=clear)
    out, image = np.zeros(shape, np.uint32), ArraySource(p)
    found = stitched(image, out, settings, threshold, block[: len(shape)], [("map", image)], size)
    whole = label(p > threshold, connectivity=1)
    whole = clear_border(whole) if clear else whole
    sizes = np.bincount(whole.ravel())
    whole = relabel_sequential(np.where(sizes[whole] >= least, whole, 0))[0]
    names = np.zeros(int(whole.max()) + 1, int)
    names[whole] = out
    assert len(set(names.tolist())) == len(names)  # one of ours for each of theirs
    np.testing.assert_array_equal(names[whole], out)
    expected, order = measured(whole, size, {"map": p}), np.argsort(names[1:])
    assert found["label"].tolist() == list(range(1, len(names)))
    for name in found.keys() - {"label"}:
        np.testing.assert_allclose(found[name], expected[name][order], atol=1e-9, err_msg=name)


def test_many_blocks_of_one_object() -> None:
    """A spiral goes through each block several times."""
    p = np.zeros((41, 41))
    for n in range(0, 20, 4):
        p[n, n : 41 - n] = p[n : 41 - n, 40 - n] = p[40 - n, n : 41 - n] = p[n + 4 : 41 - n, n] = 1
        p[n + 4, n : n + 5] = 1
    count = int(ndi.label(p)[0].max())
    out = np.zeros(p.shape, np.uint32)
    table = stitched(ArraySource(p), out, ObjectsSettings(min_size=0), 0.5, (5, 7))
    assert out.max() == count == len(table["label"])
    assert table["area_px"].sum() == np.count_nonzero(p)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_everything(value: float) -> None:
    out = np.zeros((9, 9), np.uint32)
    table = stitched(ArraySource(np.full((9, 9), value)), out, ObjectsSettings(), 0.5, (4, 4))
    assert table["area_px"].tolist() == ([81] if value else [])
