"""How well networks restore: also of volumes of few planes."""

import numpy as np
import pytest
import torch

from shallow2deep.training.restoring import restored_well
from shallow2deep.training.validation import Sample


@pytest.mark.parametrize("shape", [(16, 24), (1, 16, 16), (2, 16, 16), (9, 16, 16)])
def test_what_is_restored_perfectly(shape: tuple[int, ...]) -> None:
    raw = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    samples: list[Sample] = [(raw, torch.cat([raw, torch.ones_like(raw)]))]
    found = restored_well(lambda inputs: inputs, samples, 1)
    assert found.scores["ssim"] == pytest.approx(1)
    worse = restored_well(lambda inputs: inputs + 1, samples, 1)
    assert worse.scores["ssim"] < 1
    assert worse.score < found.score
