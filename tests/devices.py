"""Where torch computes in tests."""

import pytest
import torch

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
