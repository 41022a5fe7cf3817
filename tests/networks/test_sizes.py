"""The sizes that are told of a network, against the network itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import as_trained

from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.sizes import NetworkSizes
from shallow2deep.outputs import Output
from shallow2deep.settings import NetworkSettings

FACTOR = 1.6  # by which the memory of a process may differ from what is told
SPECS = {
    "2d": ModelSpec.of("enhancer", (Output(None),), NetworkSettings(features=4, depth=2, stem=2)),
    "3d": ModelSpec.of(
        "enhancer", (Output(None),), NetworkSettings(features=4, depth=2, stem=1), 3, (30, 10, 10)
    ),
    "shallow": ModelSpec.of("enhancer", (Output(None),), NetworkSettings(features=4, depth=1, stem=1)),
}


@pytest.mark.parametrize("name", SPECS)
def test_receptive_field_is_what_a_pixel_depends_on(name: str) -> None:
    """Of each pixel of a step the gradient; sums over several seeds, as units that are off give none."""
    spec = SPECS[name]
    sizes = NetworkSizes.of(spec)
    side = [2 * halo + step for halo, step in zip(sizes.halo, sizes.step, strict=True)]
    fields, reaches = np.zeros(spec.ndim, int), np.zeros(spec.ndim, int)
    for offset in range(max(sizes.step)):
        pixel = [halo + offset % step for halo, step in zip(sizes.halo, sizes.step, strict=True)]
        seen = np.zeros(side)
        for seed in range(3):
            torch.manual_seed(seed)
            x = torch.rand(1, 1, *side, requires_grad=True)
            as_trained(spec.build())(x)[(0, 0, *pixel)].backward()
            assert x.grad is not None
            seen += x.grad[0, 0].abs().numpy()
        for axis, places in enumerate(np.nonzero(seen)):
            low, high = int(places.min()), int(places.max())
            fields[axis] = max(fields[axis], high - low + 1)
            reaches[axis] = max(reaches[axis], pixel[axis] - low, high - pixel[axis])
    assert tuple(fields) == sizes.receptive_field
    assert tuple(reaches) == sizes.border
    assert all(border <= halo for border, halo in zip(sizes.border, sizes.halo, strict=True))


def test_sizes_that_are_told() -> None:
    sizes = NetworkSizes.of(SPECS["3d"])
    assert sizes.step == (2, 4, 4)
    assert sizes.valid_sizes((5, 9, 8)) == (6, 12, 8)
    assert sizes.parameters == sum(p.numel() for p in SPECS["3d"].build().parameters())


_MEASURE = """
import re, torch
from pathlib import Path
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.settings import NetworkSettings

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

settings = NetworkSettings(features=16, depth=2, stem=1)
network = ModelSpec.of("enhancer", (Output(None),), settings, {ndim}, (30, 10, 10)).build()
optimiser = torch.optim.AdamW(network.parameters())

def step(size, train):
    x = torch.rand({batch} if train else 1, 1, *size)
    with torch.inference_mode(not train):
        y = network(x)
    if train:
        y.sum().backward()
        optimiser.step()

network.train({train})
step([16] * {ndim}, {train})
Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far counts no more
before = memory("VmRSS")
step({size}, {train})
print(memory("VmHWM") - before)
"""


@pytest.mark.parametrize(
    ("ndim", "size", "train"),
    [
        (2, (512, 512), True),
        (3, (32, 80, 80), False),
        pytest.param(2, (512, 512), False, marks=pytest.mark.slow),
        pytest.param(3, (32, 80, 80), True, marks=pytest.mark.slow),
    ],
)
def test_memory_is_about_what_is_told(ndim: int, size: tuple[int, ...], train: bool) -> None:
    """Of a process that does it."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the memory of a process is asked of Linux")
    network = NetworkSettings(features=16, depth=2, stem=1)
    spec = ModelSpec.of("enhancer", (Output(None),), network, ndim, (30, 10, 10))
    sizes = NetworkSizes.of(spec)
    batch = 2
    block = [n - 2 * halo for n, halo in zip(size, sizes.halo, strict=True)]
    told = sizes.training_bytes(size, batch) if train else sizes.prediction_bytes(block)
    code = _MEASURE.format(ndim=ndim, size=size, train=train, batch=batch)
    measured = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert told / FACTOR < measured < told * FACTOR, measured / told
