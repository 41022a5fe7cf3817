"""Maps that memory need not hold: parts of them, as of an array."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.io import disk_map
from shallow2deep.io.disk_map import DiskMap

SHAPES = [(2, 30, 41), (1, 7, 1), (3, 4, 5, 6)]


@pytest.fixture(params=[0, 2**24], ids=["on disk", "in memory"], autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_map, "_IN_MEMORY", max(request.param, 1))


def filled(p: np.ndarray) -> DiskMap:
    out = DiskMap(p.shape)
    out.write(tuple(slice(0, n) for n in p.shape[1:]), p)
    return out


@given(data=st.data(), shape=st.sampled_from(SHAPES))
def test_parts_are_those_of_an_array(data: st.DataObject, shape: tuple[int, ...]) -> None:
    p = np.random.default_rng(0).random(shape, np.float32)
    out = filled(p)
    ends = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape]
    window = tuple(slice(a, b + 1) for a, b in ends)
    p[(slice(0, len(p)), *window[1:])] = 0.5
    out.write(window[1:], np.full(p[(slice(None), *window[1:])].shape, 0.5))
    assert np.array_equal(out[window], p[window])
    assert np.array_equal(out[-1:, window[1]], p[-1:, window[1]])
    assert np.array_equal(np.asarray(out.channel(len(p) - 1)), p[-1:])
    assert np.array_equal(np.asarray(out), p)
    assert (len(out), out.ndim, out.nbytes) == (len(p), p.ndim, p.nbytes)


def test_a_full_disk_is_told_in_a_sentence() -> None:
    code = """if True:
        import resource
        import numpy as np
        from shallow2deep.errors import NoRoomError
        from shallow2deep.io.disk_map import DiskMap
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, resource.RLIM_INFINITY))
        out = DiskMap((1, 6000, 1000))
        try:
            out.write((slice(0, 6000), slice(0, 1000)), np.ones((1, 6000, 1000)))
        except NoRoomError as error:
            print(error)
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no room to write it" in found.stdout and "needs 24.0 MB" in found.stdout
    assert not found.stderr
