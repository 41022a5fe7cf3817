"""Forest prediction and growing: ours beside scikit-learn, one core each.

    pip install '.[benchmarks]' && python benchmarks/forests.py [--data ../shared/data]

Forests are grown on 50,000 pixels of em_vnc and predict one of its slices (1024x1024, 49 features). Every
round runs both in turn; a line gives medians over rounds.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from shallow2deep.config import ForestsSettings, TreeSettings
from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import fit_forest, predict_features
from shallow2deep.io.volumes import open_volume

ROUNDS = 5
SAMPLES = 50_000


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    spec = FeatureSpec.ilastik()
    x, y, features = samples(parser.parse_args().data, spec)
    table = np.ascontiguousarray(features.reshape(spec.n_features, -1).T)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {ROUNDS} rounds\n")

    default, source = TreeSettings(), ForestsSettings()
    growths: dict[str, dict[str, Any]] = {
        "scikit-learn's defaults": {},
        "our default": default.model_dump(include={"n_trees", "max_depth", "min_samples_leaf"}),
        "our source forests": {
            "min_samples_leaf": source.min_samples_leaf,
            "max_samples": source.max_samples,
        },
        "our source forests, depth 12": {
            "min_samples_leaf": source.min_samples_leaf,
            "max_samples": source.max_samples,
            "max_depth": 12,
        },
    }
    print("| forest | trees | nodes a tree | growing, s | Mpx/s: ours | scikit-learn's | ours : defaults |")
    print("|---|---|---|---|---|---|---|")
    base: float | None = None
    for name, growth in growths.items():
        start = time.process_time()
        forest = fit_forest(x, y, spec, ("background", "mitochondria"), seed=0, **growth)
        growing = time.process_time() - start
        n_trees = growth.pop("n_trees", 100)
        peer = RandomForestClassifier(n_trees, random_state=0, n_jobs=1, **growth).fit(x, y)
        error = np.abs(predict_features(forest, features).reshape(2, -1).T - peer.predict_proba(table)).max()
        assert error < 1e-6, error
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(lambda forest=forest: predict_features(forest, features)))
            theirs.append(seconds(lambda peer=peer: peer.predict_proba(table)))
        fast, slow = (len(table) / 1e6 / statistics.median(times) for times in (ours, theirs))
        base = base or slow
        nodes = len(forest.features) / forest.n_trees
        size = f"{n_trees} | {nodes:.0f}"
        print(f"| {name} | {size} | {growing:.1f} | {fast:.2f} | {slow:.2f} | {fast / base:.1f} |")


if __name__ == "__main__":
    main()
