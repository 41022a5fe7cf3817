import pytest

from shallow2deep.axes import canonical, check_axes, infer_axes, spatial
from shallow2deep.errors import InputError


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5, 6), "yx"), ((4, 5, 6), "zyx"), ((40, 50, 3), "yxc"), ((3, 3, 3), "zyx"), ((9, 9, 9, 2), "zyxc")],
)
def test_inferred_axes(shape: tuple[int, ...], axes: str) -> None:
    assert infer_axes(shape, "a") == axes


@pytest.mark.parametrize("shape", [(5,), (2, 9, 9, 9), (2, 2, 2, 2, 2)])
def test_axes_that_are_not_evident(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="state axes"):
        infer_axes(shape, "a.npy")


@pytest.mark.parametrize(
    ("axes", "reason"), [("tyx", "time"), ("zyy", "at most one"), ("zcx", "y and x"), ("yx", "letters")]
)
def test_axes_that_do_not_fit(axes: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_axes(axes, (4, 5, 6), "a.npy")


def test_order() -> None:
    assert canonical("yxzc") == "czyx"
    assert spatial("czyx") == "zyx"
