"""What judges results without labels."""

import numpy as np
import pytest

from shallow2deep.evaluation.consistency import Consistency, changed_view


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_views_are_of_the_images_type(dtype: type) -> None:
    """A flat image of 16 bits is not foreign to a forest of 16 bits, but as floats it would be."""
    raw = np.random.default_rng(0).integers(0, 200, (2, 600, 40)).astype(dtype)
    view, other = changed_view(raw, 2, np.random.default_rng(1))
    assert view.dtype == other.dtype == dtype
    assert np.array_equal(view, raw[:, 44:556])
    change = np.flip(other, (-2, -1)).astype(float) - view
    assert 0.05 * raw.std() < change.std() < 0.12 * raw.std()
    assert np.abs(change).max() < raw.std()  # nothing went around the ends of the type


def test_what_does_not_change_has_all_of_it() -> None:
    measured = Consistency()
    raw = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    measured.add(lambda x: x[None], raw, np.flip(raw))
    assert measured.value == pytest.approx(1)
