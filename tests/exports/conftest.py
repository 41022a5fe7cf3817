"""Packages are looked at in fewer processes."""

from collections.abc import Iterator
from functools import cache

import pytest

from shallow2deep.exports import packaged_networks


@pytest.fixture(scope="session", autouse=True)
def each_torchscript_is_tried_once() -> Iterator[None]:
    """The process that a file must not end takes seconds to import torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packaged_networks, "is_survived", cache(packaged_networks.is_survived))
        yield
