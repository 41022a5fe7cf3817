"""Forest prediction and growing: ours beside scikit-learn, one core each.

    pip install '.[benchmarks]' && python benchmarks/forests.py [--data ../shared/data]

Forests are grown on 50,000 pixels of em_vnc and predict one of its slices (1024x1024, 49 features). Every
round runs all in turn; a line gives medians over rounds. Then the 200 source forests of a recipe are grown on
their simulated strokes, and scikit-learn's defaults on the same.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import cpu_seconds, machine, median_ratio
from sklearn.ensemble import RandomForestClassifier

from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import fit_forest, predict_features
from shallow2deep.inputs.source import open_sources
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import (
    EnhancerTrainConfig,
    ForestsSettings,
    TreeSettings,
    read_yaml,
    validated,
    with_overrides,
)
from shallow2deep.stages.forests import growth, sample, views

ROUNDS = 5
SAMPLES = 50_000
HERE = Path(__file__).parent
RECIPE = HERE / "../pipelines/mitochondria_vnc.yaml"
COUNT = 200  # source forests that are grown


def samples(data: Path, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and classes of random pixels of slices 0-15, and the features of slice 16, `(F, y, x)`."""
    raw = open_volume(f"{data}/em_vnc/vnc_stack1.h5:raw")
    labels = open_volume(f"{data}/em_vnc/vnc_stack1.h5:labels/mitochondria")
    rng = np.random.default_rng(0)
    x, y = [], []
    for plane, truth in zip(raw.planes()[:16], labels.planes()[:16], strict=True):
        chosen = rng.choice(np.prod(plane.shape), SAMPLES // 16, replace=False)
        x.append(compute_features(plane.read(), spec).reshape(spec.n_features, -1)[:, chosen].T)
        y.append(truth.read().ravel()[chosen] > 0)
    return np.concatenate(x), np.concatenate(y).astype(int), compute_features(raw.planes()[16].read(), spec)


SOURCE = ForestsSettings()
GROWTHS: dict[str, dict[str, Any]] = {
    "scikit-learn's defaults": {},
    "our default": TreeSettings().model_dump(include={"n_trees", "max_depth", "min_samples_leaf"}),
    "our source forests": {
        "min_samples_leaf": SOURCE.min_samples_leaf,
        "max_samples": SOURCE.max_samples,
    },
    "our source forests, depth 12": {
        "min_samples_leaf": SOURCE.min_samples_leaf,
        "max_samples": SOURCE.max_samples,
        "max_depth": 12,
    },
}


@dataclass(frozen=True)
class Prediction:
    """A forest's measures: Mpixel a second of ours and scikit-learn's, and ratios of their times to ours."""

    trees: int
    nodes_per_tree: float
    ours: float
    theirs: float
    to_same: float
    to_defaults: float


def predictions(data: Path) -> Iterator[tuple[str, Prediction]]:
    """Each forest by us and by scikit-learn, and scikit-learn's defaults, in turn."""
    spec = FeatureSpec.ilastik()
    x, y, features = samples(data, spec)
    table = np.ascontiguousarray(features.reshape(spec.n_features, -1).T)
    defaults = RandomForestClassifier(random_state=0, n_jobs=1).fit(x, y)
    for name, options in GROWTHS.items():
        forest = fit_forest(x, y, spec, ("background", "mitochondria"), seed=0, **options)
        others = {k: v for k, v in options.items() if k != "n_trees"}
        peer = RandomForestClassifier(forest.n_trees, random_state=0, n_jobs=1, **others).fit(x, y)
        error = np.abs(predict_features(forest, features).reshape(2, -1).T - peer.predict_proba(table)).max()
        assert error < 1e-6, error
        ours, theirs, default = [], [], []
        for _ in range(ROUNDS):
            ours.append(cpu_seconds(lambda forest=forest: predict_features(forest, features)))
            theirs.append(cpu_seconds(lambda peer=peer: peer.predict_proba(table)))
            default.append(cpu_seconds(lambda: defaults.predict_proba(table)))
        yield (
            name,
            Prediction(
                forest.n_trees,
                len(forest.features) / forest.n_trees,
                len(table) / 1e6 / statistics.median(ours),
                len(table) / 1e6 / statistics.median(theirs),
                median_ratio(theirs, ours),
                median_ratio(default, ours),
            ),
        )


def growing(recipe: Path, count: int) -> tuple[float, float]:
    """CPU seconds to grow the source forests of a recipe, and scikit-learn's defaults of the same samples."""
    values = with_overrides(read_yaml(recipe), [f"forests.count={count}"])
    config = validated(EnhancerTrainConfig, values, str(recipe))
    source = open_sources(config)
    view_of = {i: view for view in views(config, source.count, "training") for i in view.forests}
    ours = theirs = 0.0
    for index in range(count):
        x, y = sample(HERE, index, view_of[index], "simulated_strokes", config, source)
        grow = partial(fit_forest, x, y, source.spec, source.classes, **growth(index, config))
        ours += cpu_seconds(grow)
        theirs += cpu_seconds(partial(RandomForestClassifier(random_state=index, n_jobs=1).fit, x, y))
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print(f"{machine()}, {ROUNDS} rounds\n")
    print("| forest | trees | nodes a tree | Mpx/s: ours | scikit-learn's | times it | times its defaults |")
    print(f"|{'---|' * 7}")
    for name, one in predictions(data):
        size = f"{one.trees} | {one.nodes_per_tree:.0f}"
        speed = f"{one.ours:.2f} | {one.theirs:.2f}"
        print(f"| {name} | {size} | {speed} | {one.to_same:.1f} | {one.to_defaults:.1f} |", flush=True)
    ours, theirs = growing(RECIPE, COUNT)
    print(
        f"\n{COUNT} source forests: {ours:.0f} s, scikit-learn's defaults {theirs:.0f} s: {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
