"""Makes the tables of docs/results.md: every result and baseline on the 2D targets of ../shared/data.

    python pipelines/results.py --data ../shared/data --runs runs [--pairs vnc-epfl …] [--seeds 3]
        [--leave-one-out] [--segmentor-seeds 3] [--baselines] [--kept] [--set target_forest.brightness=0.3 …]

Runs that are finished are not made again. Prints Markdown; what was not asked for is "not run".
"""

import argparse
import csv
import json
import math
import shutil
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.commands.predict import predict
from shallow2deep.evaluation.held_out import Score, recommend
from shallow2deep.forests.simulation import draw_strokes
from shallow2deep.inputs.results import FOREST, SUPERVISED, candidate_names, made
from shallow2deep.io.atomic import atomic_path, read_json, write_json
from shallow2deep.settings import (
    AdaptConfig,
    CompareSettings,
    EnhancerTrainConfig,
    RawData,
    SegmentorSettings,
    StrokeSettings,
    TargetData,
    read_yaml,
    validated,
    with_overrides,
)
from shallow2deep.stages.prediction import CHOICE, PREDICTION, trusted

HERE = Path(__file__).parent
AMOUNTS = {"few": 3, "medium": 10, "many": 30}  # strokes of each class
HELA_PAINTED, HELA_TEST = ("0001", "0060"), ("0030", "0116", "0150")
COLUMNS = ("target_forest", "enhanced", "segmentor-consistency", "source_net", "strokes_net", SUPERVISED)
N_CLASSES = 2
GOOD = 0.02  # of Dice below the best


@dataclass(frozen=True)
class Pair:
    """A source recipe and a target: images with strokes, and test images with labels.

    Attributes:
        slices, test_slices: planes of volumes that are painted on, and that are scored.
        test_valid: masks of what is scored; all if empty.
        left_out: the source of the recipe that the enhancer does not learn on.
    """

    recipe: str
    classes: tuple[str, str]
    strokes: str
    raw: tuple[str, ...]
    labels: tuple[str, ...]
    test_raw: tuple[str, ...]
    test_labels: tuple[str, ...]
    slices: str | None = None
    test_slices: str | None = None
    test_valid: tuple[str, ...] = ()
    left_out: str | None = None

    @property
    def run(self) -> str:
        """The name of the run that trains its enhancer."""
        return f"{self.recipe}-{self.left_out}" if self.left_out else self.recipe


def nuclei(folder: str, data: Path) -> Pair:
    with (data / folder / "manifest.csv").open(newline="") as file:
        test = [row["stem"] for row in csv.DictReader(file) if row["split"] == "test"]
    painted = {
        "dsb_fluo_360": ("0532c64c2fd0", "a0afead3b4fe", "7d40ea6ead1b"),
        "dsb_fluo_512x640": ("f728de042672", "ad9d305cbf19", "80632d6be60c"),
        "dsb_fluo_embryo": ("a102535b0e88", "20b20ab04937", "f29fd9c52e04"),
        "dsb_purple_256x320": ("52a6b8ae4c8e", "3b0709483b1e", "610f32e2d9d2"),
    }[folder]
    return Pair(
        "nuclei_2d",
        ("background", "nuclei"),
        f"strokes/{folder}.h5",
        tuple(f"{folder}/{stem}_raw.png" for stem in painted),
        tuple(f"{folder}/{stem}_nuclei.png" for stem in painted),
        tuple(f"{folder}/{stem}_raw.png" for stem in test),
        tuple(f"{folder}/{stem}_nuclei.png" for stem in test),
    )


def volume(
    recipe: str, structure: str, file: str, labels: str, strokes: str, slices: str, test_slices: str
) -> Pair:
    raw, truth = (f"{file}:raw",), (f"{file}:labels/{labels}",)
    classes = ("background", structure)
    return Pair(recipe, classes, f"strokes/{strokes}.h5", raw, truth, raw, truth, slices, test_slices)


def epfl(recipe: str) -> Pair:
    return Pair(
        recipe,
        ("background", "mitochondria"),
        "strokes/em_epfl.h5",
        tuple(f"em_epfl/train{n}_raw.png" for n in range(3)),
        tuple(f"em_epfl/train{n}_mitochondria.png" for n in range(3)),
        ("em_epfl/test0_raw.png",),
        ("em_epfl/test0_mitochondria.png",),
    )


def hela(recipe: str, runs: Path) -> Pair:
    """Planes of one cell; only that cell is labelled, and not all of its mitochondria."""
    raw, labels, valid = (
        {z: f"em_hela_sbf/z{z}_{kind}.png" for z in HELA_PAINTED + HELA_TEST}
        for kind in ("raw", "mitochondria", "valid")
    )
    return Pair(
        recipe,
        ("background", "mitochondria"),
        str(runs.resolve() / "hela_strokes.h5"),
        tuple(raw[z] for z in HELA_PAINTED),
        tuple(labels[z] for z in HELA_PAINTED),
        tuple(raw[z] for z in HELA_TEST),
        tuple(labels[z] for z in HELA_TEST),
        test_valid=tuple(valid[z] for z in HELA_TEST),
    )


def draw_on_hela(data: Path, path: Path) -> None:
    """Strokes like those that the other targets have: as many of each class, inside the labelled cell."""
    stems = [data / "em_hela_sbf" / f"z{z}" for z in HELA_PAINTED]
    labels, valid = (
        np.stack([iio.imread(f"{stem}_{kind}.png") > 0 for stem in stems])
        for kind in ("mitochondria", "valid")
    )
    classes = np.where(valid, labels, N_CLASSES).astype(np.uint8)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for number, (amount, count) in enumerate(AMOUNTS.items()):
            settings = StrokeSettings(count=(count, count), imbalance=1, width=(3, 3))
            drawn = draw_strokes(classes, N_CLASSES, settings, np.random.default_rng(number))
            file.create_dataset(amount, data=drawn, compression="gzip")


def pairs(data: Path, runs: Path) -> dict[str, Pair]:
    vnc, cdeep3m = "em_vnc/vnc_stack1.h5", "em_cdeep3m_sbem/cdeep3m_mito.h5"
    medulla, mito = "em_medulla_fibsem/medulla_ts2.h5", "mitochondria"
    return {
        "vnc-epfl": epfl("mitochondria_vnc"),
        "vnc-cdeep3m": volume("mitochondria_vnc", mito, cdeep3m, mito, "em_cdeep3m_sbem", "0,5,9", "14:22"),
        "cdeep3m-epfl": epfl("mitochondria_cdeep3m"),
        "cdeep3m-vnc": volume("mitochondria_cdeep3m", mito, vnc, mito, "em_vnc", "0,7,14", "16:20"),
        "vnc-medulla": volume(
            "membranes_vnc", "membranes", medulla, "membranes", "em_medulla_fibsem", "20,75,130", "170:250:8"
        ),
        "medulla-vnc": volume(
            "membranes_medulla", "membranes", vnc, "membranes_strict", "em_vnc_membranes", "0,7,14", "16:20"
        ),
        "vnc-long-epfl": epfl("mitochondria_vnc_long"),
    }


def left_out(data: Path, runs: Path) -> dict[str, Pair]:
    """Each kind of image as target of an enhancer that has learned on all others of its structure."""
    known, em, membranes = pairs(data, runs), "mitochondria_em_2d", "membranes_em_2d"
    folders = {
        "fluo-360": "dsb_fluo_360",
        "fluo-512x640": "dsb_fluo_512x640",
        "fluo-embryo": "dsb_fluo_embryo",
        "fluo-purple": "dsb_purple_256x320",
    }
    of_nuclei = {name: replace(nuclei(folder, data), left_out=name) for name, folder in folders.items()}
    return of_nuclei | {
        "epfl": replace(known["vnc-epfl"], recipe=em, left_out="epfl"),
        "cdeep3m": replace(known["vnc-cdeep3m"], recipe=em, left_out="cdeep3m"),
        "vnc": replace(known["cdeep3m-vnc"], recipe=em, left_out="vnc"),
        "hela": hela(em, runs),  # it is no source of the recipe
        "medulla-membranes": replace(known["vnc-medulla"], recipe=membranes, left_out="medulla"),
        "vnc-membranes": replace(known["medulla-vnc"], recipe=membranes, left_out="vnc"),
    }


def trained(pair: Pair, options: argparse.Namespace) -> Path:
    """The run with the enhancer of a pair, of a folder with such runs or trained here."""
    if options.enhancers:
        return options.enhancers / pair.run
    recipe = HERE / f"{pair.recipe}.yaml"
    values = read_yaml(recipe)
    if options.source_net:
        ours = ("boundary", "raw")
        values["source_net"] = {k: v for k, v in values["enhancer"].items() if k not in ours}
    run = options.runs / pair.recipe
    enhancer_train(validated(EnhancerTrainConfig, values, str(recipe)), run)
    if not pair.left_out:
        return run
    other = options.runs / pair.run
    if not other.exists():  # forests and their maps are the same
        shutil.copytree(run, other, ignore=shutil.ignore_patterns("enhancer", "source_net"))
    enhancer_train(
        validated(EnhancerTrainConfig, values | {"leave_out": [pair.left_out]}, str(recipe)), other
    )
    return other


def under(data: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str((data / name).resolve()) for name in names)


def result(
    pair: Pair,
    amount: str,
    seed: int,
    source: Path,
    data: Path,
    run: Path,
    segmentor: bool = False,
    baselines: bool = False,
    overrides: Iterable[str] = (),
) -> dict:
    """Dice on the test images of every result of one adaptation, and which of them it recommends."""
    target = TargetData(
        raw=under(data, pair.raw),
        strokes=(f"{(data / pair.strokes).resolve()}:{amount}",),
        slices=pair.slices,
        labels=under(data, pair.labels) if segmentor and baselines else None,
    )
    config = AdaptConfig(
        seed=seed,
        classes=pair.classes,
        target=target,
        enhancer=str(source.resolve()),
        segmentor=SegmentorSettings() if segmentor else None,
        compare=CompareSettings(
            source_net=(source / "source_net" / "model.json").is_file(),
            strokes_net=segmentor and baselines,
            supervised=segmentor and baselines,
        ),
    )
    changed = with_overrides(config.model_dump(), overrides)
    config = validated(AdaptConfig, changed, "--set")
    adapt(config, run)
    choice = read_json(run / PREDICTION / CHOICE)
    dice = {}
    labels = RawData(raw=under(data, pair.test_labels), slices=pair.test_slices)
    valid = RawData(raw=under(data, pair.test_valid)) if pair.test_valid else None
    for name in made(run, candidate_names(config)):
        raw = RawData(raw=under(data, pair.test_raw), slices=pair.test_slices)
        maps = predict(run, raw, run / "test" / name, name)
        dice[name] = evaluate(RawData(raw=tuple(map(str, maps))), labels, valid)["all"]["dice"]
    return {"dice": dice, "recommended": choice["recommended"], "used_pixels": choice["used_pixels"]}


def score_pair(name: str, pair: Pair, source: Path, options: argparse.Namespace) -> Iterator[str]:
    """The rows of a pair: one for each amount of strokes."""
    kept = options.runs / name / "results.json"
    for amount in AMOUNTS:
        found = []
        for seed in range(options.seeds):
            segmentor = seed < options.segmentor_seeds and amount in options.segmentor_amounts
            run = options.runs / name / f"{amount}-{seed}"
            found.append(
                result(
                    pair, amount, seed, source, options.data, run, segmentor, options.baselines, options.set
                )
            )
            known = json.loads(kept.read_text()) if kept.exists() else {}
            write_json(kept, known | {f"{amount} {seed}": found[-1]})
        yield row(name, amount, found)


def kept_results(name: str, runs: Path) -> dict[str, list[dict]]:
    """The results of a pair that are there, by amount of strokes, judged anew by the scores of each run."""
    kept = runs / name / "results.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    found: dict[str, list[dict]] = {}
    for key, one in sorted(known.items()):
        amount, seed = key.split()
        choice = read_json(runs / name / f"{amount}-{seed}" / PREDICTION / CHOICE)
        scores = {
            candidate: Score(**{k: math.nan if v is None else v for k, v in score.items()})
            for candidate, score in choice["scores"].items()
            if candidate != SUPERVISED
        }
        strokes = choice["held_out_strokes"]
        judge = partial(recommend, scores, strokes, FOREST)
        judged = {
            "recommended": judge(trusted(scores))[0],
            "surely better": judge()[0],
            "judged": bool(strokes),
        }
        found.setdefault(amount, []).append(one | judged)
    return found


def summary(found: list[dict]) -> str:
    """How good recommendations are in runs with strokes held out, and what keeping the forest would give."""
    judged = [one for one in found if one["judged"]]
    lines = []
    for title, key in (("recommended", "recommended"), ("only what is surely better", "surely better")):
        short = [max(own(one).values()) - own(one)[one[key]] for one in judged]
        good = sum(s <= GOOD for s in short)
        lines.append(f"{title}: good in {good} of {len(short)}, {statistics.mean(short):.3f} below the best")
    return "\n".join(lines)


def own(one: dict) -> dict[str, float]:
    """The Dice of what can be recommended."""
    return {name: dice for name, dice in one["dice"].items() if name != SUPERVISED}


def row(name: str, amount: str, found: list[dict]) -> str:
    cells = [cell([r["dice"][column] for r in found if column in r["dice"]]) for column in COLUMNS]
    if not found:
        return f"| {name} | {amount} | {' | '.join(cells)} | {cell([])} |"
    pixels = statistics.mean(r["used_pixels"] for r in found)
    return f"| {name} | {amount} ({pixels:.0f}) | {' | '.join(cells)} | {verdict(found)} |"


def cell(values: list[float]) -> str:
    if not values:
        return "not run"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def verdict(found: list[dict]) -> str:
    """The Dice of what was recommended, and in how many runs it was the best or within 0.02 of it."""
    scores = [own(one)[one["recommended"]] for one in found]
    good = sum(max(own(one).values()) - score <= GOOD for one, score in zip(found, scores, strict=True))
    return f"{cell(scores)} ({good} of {len(found)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--pairs", nargs="*")
    parser.add_argument("--seeds", type=int, default=3, help="of forest and enhancer")
    parser.add_argument("--segmentor-seeds", type=int, default=3)
    parser.add_argument(
        "--segmentor-amounts", nargs="*", default=AMOUNTS, help="of strokes: few, medium, many"
    )
    parser.add_argument("--baselines", action="store_true", help="also strokes alone, and dense labels")
    parser.add_argument("--source-net", action="store_true", help="also train the sources' networks on raw")
    parser.add_argument("--set", action="append", default=[], help="any setting of adapt, KEY=VALUE")
    parser.add_argument("--leave-one-out", action="store_true", help="enhancers that know all other kinds")
    parser.add_argument("--enhancers", type=Path, help="folder with runs RECIPE[-LEFT_OUT]; else trained")
    parser.add_argument("--kept", action="store_true", help="make nothing; judge anew what is there")
    options = parser.parse_args()
    known = (left_out if options.leave_one_out else pairs)(options.data, options.runs)
    rows, everything = [], []
    for name in options.pairs or known:
        if options.kept:
            kept = kept_results(name, options.runs)
            rows += [row(name, amount, kept.get(amount, [])) for amount in AMOUNTS]
            everything += [one for found in kept.values() for one in found]
            continue
        pair = known[name]
        if not (options.data / pair.strokes).exists():
            draw_on_hela(options.data, Path(pair.strokes))
        rows += list(score_pair(name, pair, trained(pair, options), options))
    print(f"| source-target | strokes (pixels) | {' | '.join(COLUMNS)} | recommended (good) |")
    print(f"|{'---|' * (len(COLUMNS) + 3)}")
    print("\n".join(rows))
    if everything:
        print(f"\n{summary(everything)}")


if __name__ == "__main__":
    main()
