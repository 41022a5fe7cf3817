"""The packages that come along give what they say."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from shallow2deep.exports.packages import load_package

PACKAGES = sorted((Path(__file__).parents[2] / "pretrained").glob("*.zip"))


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.stem)
def test_their_own_test_tensors(path: Path) -> None:
    network, spec = load_package(path)
    with zipfile.ZipFile(path) as archive:
        given, expected = (
            np.load(io.BytesIO(archive.read(f"test_{name}.npy"))) for name in ("input", "output")
        )
        card = archive.read("README.md").decode()
    assert given.std() > 0.05
    with torch.inference_mode():
        found = torch.sigmoid(network(torch.from_numpy(given))).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert all(licence in card for licence in spec.metadata["data_licences"])
