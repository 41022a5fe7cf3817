"""Makes the table of source forests in docs/performance.md: do faster-grown ones cost the enhancer's score?

    python pipelines/source_forests.py --data ../shared/data --runs runs [--seeds 1 2 3 4]

Enhancers by mitochondria_vnc.yaml, from our source forests and from ones by scikit-learn's defaults, are
applied to two targets. Dice of the enhanced maps: mean and deviation over the enhancers' seeds. Runs that
are finished are not made again.
"""

import argparse
from pathlib import Path

from results import HERE, cell, pairs, result

from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.io.atomic import read_json
from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated, with_overrides

RECIPE = HERE / "mitochondria_vnc.yaml"
FORESTS = {
    "default": (),
    "unlimited": (
        "forests.trees=[100, 100]",
        "forests.depths=[null]",
        "forests.min_samples_leaf=1",
        "forests.max_samples=null",
    ),
}
PAIRS = ("vnc-epfl", "vnc-cdeep3m")
AMOUNTS = ("few", "many")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3, 4))
    options = parser.parse_args()
    known = pairs(options.data, options.runs)
    columns = [(name, amount) for name in PAIRS for amount in AMOUNTS]
    titles = " | ".join(f"{name} {amount}" for name, amount in columns)
    print(f"| source forests | CPU minutes to grow them | {titles} |\n|{'---|' * (len(columns) + 2)}")
    for forests, changes in FORESTS.items():
        minutes: list[float] = []
        dice: dict[tuple[str, str], list[float]] = {column: [] for column in columns}
        for seed in options.seeds:
            run = options.runs / f"{forests}-{seed}"
            values = with_overrides(read_yaml(RECIPE), [*changes, f"seed={seed}"])
            enhancer_train(validated(EnhancerTrainConfig, values, str(RECIPE)), run)
            minutes.append(read_json(run / "minutes.json")["forests"]["cpu"])
            for name, amount in columns:
                target = options.runs / "targets" / run.name / f"{name}-{amount}"
                found = result(known[name], amount, 0, run, options.data, target)
                dice[name, amount].append(found["dice"]["enhanced"])
        cells = " | ".join(cell(dice[column]) for column in columns)
        print(f"| {forests} | {cell(minutes)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
