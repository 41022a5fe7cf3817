"""How the cost of our kernels grows, and how far they are from what memory allows; one core.

    pip install . && python benchmarks/scaling.py

On noise smoothed like tissue. A line gives the median seconds of a size, and the cost of one unit: where it
stays the same, cost grows linearly. Memory: filling as many bytes as the features have, in the same run.
"""

import statistics
from collections.abc import Callable

import numpy as np
from common import cpu_seconds, machine
from scipy import ndimage as ndi

from shallow2deep.features import FeatureSpec, compute_features
from shallow2deep.forests import Forest, fit_forest, predict_features
from shallow2deep.inference.forest_maps import predict_probabilities

ROUNDS = 5
SCALES = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)


def seconds(work: Callable[[], object]) -> float:
    """Median CPU time; the first, unmeasured call warms up."""
    work()
    return statistics.median(cpu_seconds(work) for _ in range(ROUNDS))


def tissue(side: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    return ndi.gaussian_filter(noise, 4) * 20 + 0.3 * noise


def volume(side: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(side,) * 3).astype(np.float32)
    return ndi.gaussian_filter(noise, 4) * 100 + 0.3 * noise


def grown_3d(n_trees: int) -> Forest:
    raw, spec = volume(64), FeatureSpec.ilastik(ndim=3)
    x = compute_features(raw, spec).reshape(spec.n_features, -1).T
    chosen = np.random.default_rng(0).choice(len(x), 5000, replace=False)
    y = (ndi.gaussian_filter(raw, 3) > 0).ravel()[chosen].astype(int)
    return fit_forest(x[chosen], y, spec, ("low", "high"), n_trees=n_trees, min_samples_leaf=5, n_jobs=1)


def grown(n_trees: int, spec: FeatureSpec, samples: int = 20_000) -> Forest:
    raw = tissue(512)
    x = compute_features(raw, spec).reshape(spec.n_features, -1).T
    chosen = np.random.default_rng(0).choice(len(x), samples, replace=False)
    y = (ndi.gaussian_filter(raw, 3) > 0).ravel()[chosen].astype(int)
    return fit_forest(x[chosen], y, spec, ("low", "high"), n_trees=n_trees, min_samples_leaf=5, n_jobs=1)


def visits(forest: Forest, features: np.ndarray) -> tuple[float, float]:
    """Nodes visited for a pixel and tree: by pixels one by one, and by tiles of 8x8."""
    side = features.shape[1]
    y, x = np.indices((side, side))
    tile = (y // 8 * side + x // 8).ravel()
    columns = features.reshape(len(features), -1)
    single, together, start = 0, 0, 0
    for size in forest.tree_sizes:
        tree = slice(start, start + size)
        split, threshold, child = forest.features[tree], forest.thresholds[tree], forest.children[tree]
        pixels, node = np.arange(side * side), np.zeros(side * side, np.int64)
        while len(pixels):
            single += len(pixels)
            together += len(np.unique(node * side * side + tile[pixels]))
            inner = split[node] >= 0
            pixels, node = pixels[inner], node[inner]
            node = child[node] + (columns[split[node], pixels] > threshold[node])
        start += size
    return single / forest.n_trees / side**2, together / forest.n_trees / side**2


def line(what: str, size: object, time_: float, units: float, unit: str) -> None:
    print(f"| {what} | {size} | {time_:.4f} | {1e9 * time_ / units:.2f} ns a {unit} |")


def main() -> None:
    print(f"{machine()}, {ROUNDS} rounds\n")
    print("| work | size | seconds | cost |\n|---|---|---|---|")
    spec = FeatureSpec.ilastik()
    for side in (128, 256, 512, 1024, 2048):
        raw = tissue(side)
        out = np.empty((spec.n_features, side, side), np.float32)
        time_ = seconds(lambda raw=raw, out=out: compute_features(raw, spec, out=out))
        line("features, by image", f"{side}x{side}", time_, raw.size * spec.n_features, "pixel and feature")
    line("filling the same memory", out.shape, seconds(lambda: out.fill(1)), out.size, "pixel and feature")
    del out
    raw = tissue(1024)
    for n in (1, 2, 4, 7):
        part = FeatureSpec.ilastik(SCALES[-n:])
        out = np.empty((part.n_features, *raw.shape), np.float32)
        time_ = seconds(lambda part=part, out=out: compute_features(raw, part, out=out))
        line("features, by scales", n, time_, raw.size * part.n_features, "pixel and feature")
    for side in (32, 64, 128):
        raw = volume(side)
        solid = FeatureSpec.ilastik(ndim=3)
        out = np.empty((solid.n_features, *raw.shape), np.float32)
        time_ = seconds(lambda raw=raw, solid=solid, out=out: compute_features(raw, solid, out=out))
        line("features, by volume", f"{side}³", time_, raw.size * solid.n_features, "pixel and feature")
    few = grown(10, spec)
    for side in (512, 1024, 2048, 4096):
        raw = tissue(side)
        time_ = seconds(lambda raw=raw: predict_probabilities(few, raw))
        line("image to probabilities, 10 trees", f"{side}x{side}", time_, raw.size, "pixel")
    solid_forest = grown_3d(10)
    for side in (96, 144, 192):
        raw = volume(side)
        time_ = seconds(lambda raw=raw: predict_probabilities(solid_forest, raw))
        line("volume to probabilities, 10 trees", f"{side}³", time_, raw.size, "pixel")
    forest = grown(100, spec)
    for side in (128, 256, 512, 1024):
        features = compute_features(tissue(side), spec)
        time_ = seconds(lambda features=features: predict_features(forest, features))
        line("forest, by image", f"{side}x{side}", time_, side * side * 100, "pixel and tree")
    features = compute_features(tissue(512), spec)
    single, together = visits(forest, features)
    print(f"| visits of nodes, a pixel and tree | one by one: {single:.1f} | in tiles: {together:.2f} | |")
    for n in (10, 25, 50, 100, 200):
        one = grown(n, spec)
        time_ = seconds(lambda one=one: predict_features(one, features))
        line("forest, by trees", n, time_, 512 * 512 * n, "pixel and tree")
    for n in (1, 2, 4, 8):
        time_ = seconds(lambda n=n: [grown(20, spec, 2000) for _ in range(n)])
        line("forests grown", n, time_, n * 20 * 2000, "tree and sample")


if __name__ == "__main__":
    main()
