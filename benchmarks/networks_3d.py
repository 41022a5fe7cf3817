"""A training step and a prediction by networks in 3D, beside what the processor can multiply.

    python benchmarks/networks_3d.py

The bound is a product of two matrices of 1024 x 1024. A network's arithmetic is that of its convolutions, as
torch counts it. One core, float32; medians of rounds that run everything in turn.
"""

import statistics
from collections.abc import Callable

import torch
from common import machine, seconds
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.strides import strides_for
from shallow2deep.outputs import Output
from shallow2deep.settings import EnhancerSettings, NetworkSettings

ROUNDS = 3
CASES = {  # shape of voxels, number of poolings, patch
    "cubes, two poolings": ((1.0, 1.0, 1.0), 2, (64, 64, 64)),
    "cubes, three poolings": ((1.0, 1.0, 1.0), 3, (64, 64, 64)),
    "2.18 : 1 : 1, three poolings": ((2.18, 1.0, 1.0), 3, (32, 64, 64)),
    "11 : 1 : 1, three poolings": ((11.0, 1.0, 1.0), 3, (16, 96, 96)),
}
BATCH = 2
SIDE = 1024  # of the matrices


def product() -> Callable[[], object]:
    a = torch.rand(SIDE, SIDE)
    return lambda: a @ a


def network_of(case: str) -> nn.Module:
    voxel_size, depth, _ = CASES[case]
    settings = NetworkSettings(features=16, stem=1, strides=strides_for(voxel_size, depth))
    return ModelSpec.of("enhancer", (Output(None),), settings, ndim=3).build()


def prediction(case: str) -> Callable[[], object]:
    network, inputs = network_of(case).eval(), torch.rand(BATCH, 1, *CASES[case][2])

    def work() -> None:
        with torch.inference_mode():
            network(inputs)

    return work


def step(case: str) -> Callable[[], object]:
    network, inputs = network_of(case), torch.rand(BATCH, 1, *CASES[case][2])
    optimizer, targets = torch.optim.AdamW(network.parameters()), (inputs > 0.5).float()

    def work() -> None:
        optimizer.zero_grad()
        loss_of(EnhancerSettings())(network(inputs), targets).backward()
        optimizer.step()

    return work


def arithmetic(work: Callable[[], object]) -> float:
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def main() -> None:
    torch.set_num_threads(1)
    works = {"product": product()}
    for case in CASES:
        works |= {f"{case}, training step": step(case), f"{case}, prediction": prediction(case)}
    operations = {name: arithmetic(work) for name, work in works.items()}  # warms up, too
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    print(f"{machine()}, one core; torch {torch.__version__}, batch {BATCH}, 16 features\n")
    columns = ("network", "patch", "work", "seconds", "Mvoxel/s", "GFLOP/s", "share of the bound")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    speeds = {name: [operations[name] / t / 1e9 for t in found] for name, found in times.items()}
    for case, (_, _, patch) in CASES.items():
        voxels = BATCH * patch[0] * patch[1] * patch[2] / 1e6
        for work in ("training step", "prediction"):
            name = f"{case}, {work}"
            took = statistics.median(times[name])
            share = statistics.median(a / b for a, b in zip(speeds[name], speeds["product"], strict=True))
            shape = " x ".join(map(str, patch))
            print(
                f"| {case} | {shape} | {work} | {took:.2f} | {voxels / took:.2f} "
                f"| {statistics.median(speeds[name]):.0f} | {share:.2f} |"
            )
    print(f"\nbound: {statistics.median(speeds['product']):.0f} GFLOP/s")


if __name__ == "__main__":
    main()
