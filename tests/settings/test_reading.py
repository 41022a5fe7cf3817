"""Settings from files and command lines."""

import pytest

from shallow2deep.errors import SettingsError
from shallow2deep.settings import with_overrides


def test_overrides() -> None:
    values = with_overrides(
        {"enhancer": {"steps": 1}}, ["enhancer.steps=5", "seed=3", "enhancer.patch=[8, 8]"]
    )
    assert values == {"enhancer": {"steps": 5, "patch": [8, 8]}, "seed": 3}
    for wrong in ("enhancer.steps", "enhancer.steps.x=1", "seed=["):
        with pytest.raises(SettingsError):
            with_overrides({"enhancer": {"steps": 1}}, [wrong])
