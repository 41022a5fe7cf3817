"""Feeding and training the enhancer: our samples beside torch-em's, bfloat16 beside float32; one core.

    pip install '.[benchmarks]' && python benchmarks/training.py RUN [--data ../shared/data]

RUN is a run of enhancer-train, whose pool and settings are used. torch-em grows forests of its own on em_vnc,
with its defaults. Medians of rounds that run everything in turn.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import zarr
from common import machine, median_ratio, run_and_data, seconds

from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.settings import EnhancerSettings
from shallow2deep.stages.network_training import augmentation
from shallow2deep.training.samples import TrainingSamples

ROUNDS = 5
SAMPLES = {"ours": 100, "torch-em": 4}  # a round
FORESTS = 8
PATCH = (256, 256)


class OurSamples:
    """Crops of the pool, changed one by one."""

    def __init__(self, run: Path):
        pool = run / "probabilities" / "pool.zarr"
        group: Any = zarr.open_group(pool, mode="r")["training"]
        every = range(group["maps"].shape[0])
        outputs = (Output(None),)
        self._samples = TrainingSamples(
            pool, "training", outputs, ("map",), every, PATCH, 10**6, 0, "benchmark"
        )
        spec = ModelSpec.of("enhancer", outputs, EnhancerSettings().network)
        self._change = augmentation(("map",), spec, EnhancerSettings(), 0, "benchmark")

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = self._samples[index]
        return self._change(inputs[None], targets[None], index)


def torch_em_samples(data: Path, folder: Path) -> torch.utils.data.Dataset:
    """As its example does: forests of random patches, applied to another patch for each sample.

    torch-em imports torchvision, which its loader does not use; where it is missing, a stand-in serves.
    """
    if find_spec("torchvision") is None:
        sys.modules |= {name: MagicMock() for name in ("torchvision", "torchvision.utils")}
    from torch_em.shallow2deep import prepare_shallow2deep
    from torch_em.shallow2deep.shallow2deep_dataset import get_shallow2deep_dataset

    path, raw, labels = str(data / "em_vnc/vnc_stack1.h5"), "raw", "labels/mitochondria"
    prepare_shallow2deep(
        path, raw, path, labels, (1, 250, 250), (1, 500, 500), FORESTS, 2, str(folder), 2, n_estimators=100
    )
    forests = sorted(map(str, folder.glob("*.pkl")))
    return get_shallow2deep_dataset(path, raw, path, labels, forests, (1, *PATCH), ndim=2, n_samples=1000)


def feeding(run: Path, data: Path) -> dict[str, list[float]]:
    """Seconds a sample, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {"torch-em": torch_em_samples(data, Path(folder)), "ours": OurSamples(run)}
        times: dict[str, list[float]] = {name: [] for name in sources}
        for turn in range(ROUNDS + 1):
            for name, samples in sources.items():
                n = SAMPLES[name]

                def work(samples=samples, n=n, turn=turn) -> None:  # type: ignore[no-untyped-def]
                    for i in range(n):
                        samples[turn * n + i]

                times[name].append(seconds(work) / n)
    return {name: found[1:] for name, found in times.items()}  # the first round warms up


def step(precision: str) -> Callable[[], None]:
    """One step of training of the default enhancer."""
    settings = EnhancerSettings()
    network = ModelSpec.of("enhancer", (Output(None),), settings.network).build()
    layout = torch.channels_last if precision == "bfloat16" else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters())
    inputs = torch.rand(settings.batch, 1, *PATCH).contiguous(memory_format=layout)
    targets = (torch.rand(settings.batch, 1, *PATCH) > 0.5).float()

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(inputs)
        optimizer.zero_grad()
        loss_of(settings)(logits.float(), targets).backward()
        optimizer.step()

    work()
    return work


def steps() -> dict[str, list[float]]:
    """Seconds of a step, round by round."""
    works = {"float32, contiguous": step("float32"), "bfloat16, channels last": step("bfloat16")}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    return times


def main() -> None:
    options = run_and_data(__doc__)
    torch.set_num_threads(1)
    print(f"{machine()}, {ROUNDS} rounds")
    for title, times in (
        ("sample of 256x256", feeding(options.run, options.data)),
        ("step of the default enhancer, batch 8", steps()),
    ):
        print(f"\n| {title} | seconds | times |\n|---|---|---|")
        peer, *_ = times.values()
        for name, found in times.items():
            print(f"| {name} | {statistics.median(found):.4f} | {median_ratio(peer, found):.1f} |")


if __name__ == "__main__":
    main()
