"""Each kind of network as the demo's enhancer: validation score, time of a step, weights.

    python benchmarks/networks.py RUN [--steps 300] [--seeds 2] [--kinds unet residual …]

RUN is a run of enhancer-train on the demo's data, whose pool is used, or a folder to make it in: forests and
pool only take two minutes. Networks differ from the demo's in their kind and, to be quick, in their sizes.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import get_args

import torch
from common import machine

from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.inputs.source import fitted, open_sources
from shallow2deep.io.known import Known
from shallow2deep.networks.model import load_model
from shallow2deep.networks.sizes import NetworkSizes
from shallow2deep.outputs import Output
from shallow2deep.runs.control import Control
from shallow2deep.runs.engine import run_stages
from shallow2deep.runs.events import Events
from shallow2deep.runs.job import Job
from shallow2deep.settings import EnhancerTrainConfig, NetworkSettings, read_yaml, validated
from shallow2deep.stages.network_training import pool_network_spec, train_on_pool

DEMO = Path(__file__).parents[1] / "shallow2deep" / "demo" / "enhancer.yaml"
SIZES = {"features": 8, "depth": 3, "stem": 2}
KINDS = get_args(NetworkSettings.model_fields["kind"].annotation)


def config_of(kind: str, seed: int, steps: int) -> EnhancerTrainConfig:
    values = read_yaml(DEMO)
    values["enhancer"] |= {
        "network": SIZES | {"kind": kind}, "patch": [128, 128], "batch": 4, "steps": steps, "workers": 0,
        "validate_every": max(1, steps // 3), "checkpoint_every": steps,
    }  # fmt: skip
    return fitted(validated(EnhancerTrainConfig, values | {"seed": seed}, str(DEMO)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    first = config_of("unet", 0, options.steps)
    options.run.mkdir(parents=True, exist_ok=True)
    stages = source_stages(first, Known())[:2]  # forests and pool
    run_stages(options.run, stages, Control(), Events(), Known())
    source = open_sources(first)
    print(f"{machine()}; {options.steps} steps, batch 4, 128 x 128")
    print("\n| kind | weights | CPU s a step | validation Dice, by seed | mean |\n|---|---|---|---|---|")
    for kind in options.kinds:
        scores, times = [], []
        for seed in range(options.seeds):
            config = config_of(kind, seed, options.steps)
            spec = pool_network_spec("enhancer", (Output(None),), config.enhancer, config, source)
            folder = options.run / f"{kind}-{seed}"
            folder.mkdir(exist_ok=True)
            before = sum(os.times()[:2])
            train_on_pool(spec, ("map",), config.enhancer, config, {}, ".", Job(folder), {})
            times.append((sum(os.times()[:2]) - before) / options.steps)
            scores.append(load_model(folder)[1].record["training"]["best_score"])
        told = ", ".join(f"{score:.3f}" for score in scores)
        weights = f"{NetworkSizes.of(spec).parameters:,}"
        seconds, mean = statistics.median(times), statistics.mean(scores)
        print(f"| {kind} | {weights} | {seconds:.2f} | {told} | {mean:.3f} |", flush=True)


if __name__ == "__main__":
    main()
