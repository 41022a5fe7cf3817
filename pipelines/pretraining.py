"""Makes the table of docs/pretraining.md: a network from dense labels, from scratch and from pretraining.

    python pipelines/pretraining.py --data ../shared/data --runs runs/pretraining [--steps 100 300]

Nuclei in dim fluorescence (512x640 pixels): nine raw images to pretrain on, two of them with labels to
train on and one to validate on, four further ones to test on. What is finished is not made again. Prints
Markdown: Dice on the test images, a number for each seed.
"""

import argparse
from pathlib import Path
from typing import Any

from shallow2deep import evaluate, predict, pretrain, train
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.settings import PretrainConfig, RawData, TrainConfig, validated

WAYS = ("scratch", "masking", "denoise")
NET: dict[str, Any] = {
    "network": {"features": 8, "depth": 3, "stem": 2},
    "patch": [128, 128],
    "batch": 4,
    "device": "cpu",
}
PRETRAINED, LABELLED, VALIDATED, TESTED = slice(0, 9), slice(0, 2), slice(2, 3), slice(9, 13)


def names(data: Path, kind: str, part: slice) -> list[str]:
    """Files of some images: their `raw`, or their `nuclei`."""
    found = sorted((data / "dsb_fluo_512x640").glob(f"*_{kind}.png"))
    return [str(path) for path in found[part]]


def labelled(data: Path, part: slice) -> dict[str, Any]:
    """Images with labels, as settings name them."""
    return {"raw": names(data, "raw", part), "labels": names(data, "nuclei", part)}


def pretrained(data: Path, runs: Path, task: str, seed: int, steps: int) -> Path:
    """The run of a pretraining."""
    run = runs / f"{task}-{steps}-seed-{seed}"
    values = {
        "seed": seed,
        "images": [{"raw": names(data, "raw", PRETRAINED)}],
        "hiding": {"task": task},
        "pretrained_net": NET | {"steps": steps, "validate_every": 100},
    }
    pretrain(validated(PretrainConfig, values, "pretraining"), run)
    return run


def dice(data: Path, run: Path, seed: int, steps: int, weights: Path | None) -> float:
    """Of a network trained on labels, on the test images."""
    if (run / "dice.json").is_file():
        return float(read_json(run / "dice.json"))
    net = NET | {"steps": steps, "validate_every": 50}
    values = {
        "seed": seed,
        "classes": ["background", "nucleus"],
        "sources": [labelled(data, LABELLED)],
        "validation_sources": [labelled(data, VALIDATED)],
        "labelled_net": net | ({"weights": str(weights)} if weights else {}),
    }
    train(validated(TrainConfig, values, "training"), run)
    test = labelled(data, TESTED)
    maps = predict(run, RawData(raw=tuple(test["raw"])), run / "test", rescale=True)
    found = evaluate(RawData(raw=tuple(map(str, maps))), RawData(raw=tuple(test["labels"])))["all"]["dice"]
    write_json(run / "dice.json", found)
    return float(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--pretraining", type=int, default=300, help="steps without labels")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    asked = parser.parse_args()
    print(f"| start | {' | '.join(f'{steps} steps' for steps in asked.steps)} |")
    print(f"|---|{'---|' * len(asked.steps)}")
    for way in asked.ways:
        cells = []
        for steps in asked.steps:
            found = []
            for seed in range(asked.seeds):
                weights = (
                    None
                    if way == "scratch"
                    else pretrained(asked.data, asked.runs, way, seed, asked.pretraining)
                )
                run = asked.runs / f"{way}-then-{steps}-seed-{seed}"
                found.append(dice(asked.data, run, seed, steps, weights))
            cells.append(", ".join(f"{score:.3f}" for score in found))
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
