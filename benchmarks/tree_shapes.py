"""What the shape of the target forest's trees costs in Dice, and brings in speed.

    pip install '.[benchmarks]' && python benchmarks/tree_shapes.py [--data ../shared/data]

Dice: forests of the fixed strokes (few, medium, many) of two data sets, on their test images; means over
three seeds. Speed: each shape grown on 50,000 pixels of em_vnc, beside scikit-learn with its defaults.
"""

import argparse
import csv
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from common import cpu_seconds, machine
from forests import ROUNDS, samples
from sklearn.ensemble import RandomForestClassifier

from shallow2deep.evaluation.metrics import pooled_score
from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import fit_forest, predict_features
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import TreeSettings
from shallow2deep.training.from_strokes import stroke_features

SEEDS = 3
SHAPES: dict[str, dict[str, Any]] = {
    "unlimited, 100 trees": {"n_trees": 100},
    "leaves of 5, 100 trees": {"n_trees": 100, "min_samples_leaf": 5},
    "leaves of 5, depth 10, 100 trees": {"n_trees": 100, "min_samples_leaf": 5, "max_depth": 10},
    "leaves of 5, depth 10, 40 trees (our default)": TreeSettings().model_dump(
        include={"n_trees", "min_samples_leaf", "max_depth"}
    ),
    "leaves of 5, depth 8, 40 trees": {"n_trees": 40, "min_samples_leaf": 5, "max_depth": 8},
}


def vnc(data: Path) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """The planes that strokes are on, and pairs of raw and truth of the test planes."""
    raw = open_volume(f"{data}/em_vnc/vnc_stack1.h5:raw").planes()
    truth = open_volume(f"{data}/em_vnc/vnc_stack1.h5:labels/mitochondria").planes()
    tested = [(raw[z].read(), truth[z].read() > 0) for z in range(16, 20)]
    return [raw[z].read() for z in (0, 7, 14)], tested


def nuclei(data: Path) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    folder = data / "dsb_fluo_512x640"
    with (folder / "manifest.csv").open(newline="") as file:
        test = [row["stem"] for row in csv.DictReader(file) if row["split"] == "test"]

    def read(name: str) -> np.ndarray:
        return open_volume(folder / name).grey().read()

    tested = [(read(f"{stem}_raw.png"), read(f"{stem}_nuclei.png") > 0) for stem in test]
    painted = ("f728de042672", "ad9d305cbf19", "80632d6be60c")
    return [read(f"{stem}_raw.png") for stem in painted], tested


def dice(
    shape: dict[str, Any],
    strokes: dict[str, tuple[np.ndarray, np.ndarray]],
    tested: list[tuple[np.ndarray, np.ndarray]],
    spec: FeatureSpec,
) -> Iterator[float]:
    """For each amount of strokes, the mean over seeds."""
    for x, y in strokes.values():
        scores = []
        for seed in range(SEEDS):
            forest = fit_forest(x, y, spec, ("background", "foreground"), seed=seed, **shape)
            maps = [predict_features(forest, features)[1] for features, _ in tested]
            scores.append(pooled_score(maps, [truth for _, truth in tested])["dice"])
        yield statistics.mean(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print(f"{machine()}, {ROUNDS} rounds\n")
    spec = FeatureSpec.ilastik()
    x, y, plane = samples(data, spec)
    peer = RandomForestClassifier(random_state=0, n_jobs=1).fit(x, y)
    table = np.ascontiguousarray(plane.reshape(spec.n_features, -1).T)
    rows = {}
    for name, shape in SHAPES.items():
        forest = fit_forest(x, y, spec, ("background", "mitochondria"), seed=0, **shape)
        ratios = []
        for _ in range(ROUNDS):
            ours = cpu_seconds(lambda forest=forest: predict_features(forest, plane))
            ratios.append(cpu_seconds(lambda: peer.predict_proba(table)) / ours)
        rows[name] = [f"{statistics.median(ratios):.1f}"]
    for name, (painted, tested) in {"em_vnc": vnc(data), "dsb_fluo_512x640": nuclei(data)}.items():
        with h5py.File(data / f"strokes/{name}.h5") as file:
            drawn = {amount: list(file[amount][()]) for amount in ("few", "medium", "many")}
        strokes = {amount: stroke_features(painted, images, spec) for amount, images in drawn.items()}
        features = [(compute_features(raw, spec), truth) for raw, truth in tested]
        for shape_name, shape in SHAPES.items():
            scores = dice(shape, strokes, features, spec)
            rows[shape_name].append("/".join(f"{score:.3f}" for score in scores))
    print("| trees | times scikit-learn's defaults | Dice VNC, few/medium/many | Dice nuclei 512x640 |")
    print("|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
