"""Compares ways to sample the source forests, VNC -> EPFL, with everything else the same.

    python pipelines/strategies.py --data ../shared/data --runs runs [--steps 300] [--seeds 2]

Runs that are finished are not made again. Prints a Markdown table of the enhancer's Dice.
"""

import argparse
from pathlib import Path

from results import AMOUNTS, HERE, cell, pairs, result

from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated

MIXTURES = {
    "simulated_strokes": {"simulated_strokes": 1.0},
    "dense_patches": {"dense_patches": 1.0},
    "worst_tiles": {"worst_tiles": 1.0},
    "half strokes, half worst_tiles": {"simulated_strokes": 1.0, "worst_tiles": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    recipe = HERE / "mitochondria_vnc.yaml"
    pair = pairs(options.data, options.runs)["vnc-epfl"]
    rows = []
    for number, (name, shares) in enumerate(MIXTURES.items()):
        values = read_yaml(recipe)
        values["forests"] = {**values.get("forests", {}), "strategies": shares}
        values["enhancer"] = {**values.get("enhancer", {}), "steps": options.steps}
        place = options.runs / f"strategy-{number}"
        enhancer_train(validated(EnhancerTrainConfig, values, name), place / "source")
        cells = []
        for amount in AMOUNTS:
            runs = [place / f"{amount}-{seed}" for seed in range(options.seeds)]
            found = [
                result(pair, amount, seed, place / "source", options.data, run)
                for seed, run in enumerate(runs)
            ]
            cells.append(cell([one["dice"]["enhanced"] for one in found]))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    print("| sampling of the source forests | few | medium | many |\n|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
