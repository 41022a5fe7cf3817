"""Prediction by networks as they were trained, and as they are applied.

    python benchmarks/applied.py

One core, float32; medians of rounds that run everything in turn, in processor time.
"""

import statistics
import time
from collections.abc import Callable

import torch
from common import machine
from torch import Tensor, nn

from shallow2deep.networks.applied import applied
from shallow2deep.networks.unet import UNet

ROUNDS = 7
CASES = {
    "U-Net, 16 features, depth 3, stem 2 (those in pretrained/)": (((2, 2),) * 3, (2, 2), 16, "unet"),
    "U-Net, 24 features, depth 4, stem 2 (default)": (((2, 2),) * 4, (2, 2), 24, "unet"),
    "residual U-Net, 16 features, depth 3, stem 2": (((2, 2),) * 3, (2, 2), 16, "residual"),
    "3D U-Net, 16 features, depth 2": (((1, 2, 2), (2, 2, 2)), (1, 1, 1), 16, "unet"),
}
SIZES = {2: (1024, 1024), 3: (32, 96, 96)}


def processor_time(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def prediction(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def work() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return work


def main() -> None:
    torch.set_num_threads(1)
    print(f"{machine()}\n")
    print("| network | size | as trained, s | as applied, s | times | largest difference of logits |")
    print("|---|---|---|---|---|---|")
    for name, (strides, stem, features, kind) in CASES.items():
        network = UNet(1, 1, features, strides, stem, kind=kind).eval()
        x = torch.rand(1, 1, *SIZES[len(stem)])
        works = [prediction(network, x), prediction(applied(network), x)]
        difference = float((works[0]() - works[1]()).abs().max())  # warms up, too
        times = [[processor_time(work) for work in works] for _ in range(ROUNDS)]
        before, after = (statistics.median(column) for column in zip(*times, strict=True))
        size = " x ".join(map(str, SIZES[len(stem)]))
        print(f"| {name} | {size} | {before:.2f} | {after:.2f} | {before / after:.2f} | {difference:.0e} |")


if __name__ == "__main__":
    main()
