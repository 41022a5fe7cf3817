"""Makes the tables of docs/results.md: forest, enhancer and source net on targets of ../shared/data.

    python pipelines/results.py --data ../shared/data --runs runs [--pairs vnc-epfl …] [--brightness 0.3]

Runs that are finished are not made again. Prints Markdown.
"""

import argparse
import csv
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shallow2deep.config import (
    AdaptConfig,
    EnhancerTrainConfig,
    RawData,
    TargetData,
    TreeSettings,
    read_yaml,
    validated,
)
from shallow2deep.stages.evaluation import evaluate
from shallow2deep.stages.prediction import predict
from shallow2deep.stages.source_run import enhancer_train
from shallow2deep.stages.target_run import adapt

HERE = Path(__file__).parent
Scores = dict[str, float]
AMOUNTS = ("few", "medium", "many")


@dataclass(frozen=True)
class Pair:
    """A source recipe and a target: images with strokes, and test images with labels, as file names."""

    recipe: str
    classes: tuple[str, str]
    strokes: str
    raw: tuple[str, ...]
    test_raw: tuple[str, ...]
    test_labels: tuple[str, ...]


def nuclei(folder: str, data: Path, stems: tuple[str, ...]) -> Pair:
    with (data / folder / "manifest.csv").open(newline="") as file:
        test = [row["stem"] for row in csv.DictReader(file) if row["split"] == "test"]
    return Pair(
        "nuclei_fluo",
        ("background", "nuclei"),
        f"strokes/{folder}.h5",
        tuple(f"{folder}/{stem}_raw.png" for stem in stems),
        tuple(f"{folder}/{stem}_raw.png" for stem in test),
        tuple(f"{folder}/{stem}_nuclei.png" for stem in test),
    )


def pairs(data: Path) -> dict[str, Pair]:
    return {
        "vnc-epfl": Pair(
            "mitochondria_vnc",
            ("background", "mitochondria"),
            "strokes/em_epfl.h5",
            tuple(f"em_epfl/train{n}_raw.png" for n in range(3)),
            ("em_epfl/test0_raw.png",),
            ("em_epfl/test0_mitochondria.png",),
        ),
        "fluo-512x640": nuclei("dsb_fluo_512x640", data, ("f728de042672", "ad9d305cbf19", "80632d6be60c")),
        "fluo-purple": nuclei("dsb_purple_256x320", data, ("52a6b8ae4c8e", "3b0709483b1e", "610f32e2d9d2")),
    }


def under(data: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str((data / name).resolve()) for name in names)


def score_of(model: Path, pair: Pair, data: Path, out: Path, step: str = "enhanced") -> Scores:
    maps = predict(model, RawData(raw=under(data, pair.test_raw)), out, step)
    labels = RawData(raw=under(data, pair.test_labels))
    return evaluate(RawData(raw=tuple(map(str, maps))), labels)["all"]


def score_pair(
    name: str, pair: Pair, source: Path, data: Path, runs: Path, seeds: int, brightness: float = 0.0
) -> dict:
    """Scores by method, amount and seed; kept in a file so that a second call has them at once."""
    place = runs / (f"{name}-brightness-{brightness}" if brightness else name)
    kept = place / "scores.json"
    scores: dict = json.loads(kept.read_text()) if kept.exists() else {}

    def once(key: str, make: Callable[[], Scores]) -> None:
        if key not in scores:
            scores[key] = make()
            place.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(scores, indent=1))

    if (source / "source_net").is_dir():
        once("source_net", lambda: score_of(source / "source_net", pair, data, place / "source_net"))
    for amount in AMOUNTS:
        for seed in range(seeds):
            run = place / f"{amount}-{seed}"

            def adapted(step: str, run: Path = run, amount: str = amount, seed: int = seed) -> Scores:
                strokes = f"{(data / pair.strokes).resolve()}:{amount}"
                target = TargetData(raw=under(data, pair.raw), strokes=(strokes,))
                config = AdaptConfig(
                    seed=seed,
                    classes=pair.classes,
                    target=target,
                    enhancer=str(source.resolve()),
                    target_forest=TreeSettings(brightness=brightness),
                )
                adapt(config, run)
                return score_of(run, pair, data, run.with_name(f"{run.name}-test-{step}"), step)

            for step in ("forest", "enhanced"):
                once(f"{step} {amount} {seed}", partial(adapted, step))
    return scores


def cell(scores: dict, step: str, amount: str, seeds: int, metric: str) -> str:
    values = [scores[f"{step} {amount} {seed}"][metric] for seed in range(seeds)]
    spread = statistics.stdev(values) if seeds > 1 else float("nan")
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--pairs", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--brightness", type=float, default=0.0, help="of target_forest")
    options = parser.parse_args()
    known = pairs(options.data)
    for name in options.pairs or known:
        pair = known[name]
        recipe = HERE / f"{pair.recipe}.yaml"
        values = read_yaml(recipe)
        values["source_net"] = values["enhancer"]
        source = options.runs / pair.recipe
        enhancer_train(validated(EnhancerTrainConfig, values, str(recipe)), source)
        scores = score_pair(name, pair, source, options.data, options.runs, options.seeds, options.brightness)
        for metric in ("dice", "average_precision"):
            print(f"\n{name}, {metric}\n\n| strokes | forest | enhancer | source net |\n|---|---|---|---|")
            for amount in AMOUNTS:
                cells = [cell(scores, step, amount, options.seeds, metric) for step in ("forest", "enhanced")]
                print(f"| {amount} | {' | '.join(cells)} | {scores['source_net'][metric]:.3f} |")


if __name__ == "__main__":
    main()
