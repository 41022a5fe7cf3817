"""ilastik's full feature set: our kernels beside bioimage_cpp and, where it is installed, fastfilters.

    pip install '.[benchmarks]' && python benchmarks/features.py

Every round runs all engines in turn; a line gives the medians over rounds of an engine's time and of its
ratio to ours.
"""

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from common import cpu_seconds, machine, median_ratio, seconds

from shallow2deep.features import FeatureSpec, compute_features

ROUNDS = 7
SHAPES = {2: (1024, 1024), 3: (64, 256, 256)}


def with_bioimage_cpp(raw: np.ndarray, spec: FeatureSpec) -> None:
    """As torch-em computes the filters: each one for itself, at the full scale."""
    from bioimage_cpp import filters

    for one in spec.filters:
        scale = one.scale
        match one.name:
            case "GaussianSmoothing":
                filters.gaussian_smoothing(raw, scale)
            case "LaplacianOfGaussian":
                filters.laplacian_of_gaussian(raw, scale)
            case "GaussianGradientMagnitude":
                filters.gaussian_gradient_magnitude(raw, scale)
            case "DifferenceOfGaussians":
                filters.gaussian_smoothing(raw, scale) - filters.gaussian_smoothing(raw, 0.66 * scale)
            case "StructureTensorEigenvalues":
                filters.structure_tensor_eigenvalues(raw, scale, 0.5 * scale)
            case "HessianOfGaussianEigenvalues":
                filters.hessian_of_gaussian_eigenvalues(raw, scale)


def measured(ndim: int) -> dict[str, tuple[float, float]]:
    """Seconds of each engine, and how many times ours on one thread that is."""
    shape = SHAPES[ndim]
    raw = np.random.default_rng(0).random(shape, np.float32)
    spec = FeatureSpec.ilastik(ndim=ndim)
    out = np.empty((spec.n_features, *shape), np.float32)  # new memory would cost as much as the filters
    selection = [(one.name, one.scale, False) for one in spec.filters]
    old = FeatureSpec.of_selection(selection, ndim, library="vigra")
    now = FeatureSpec.of_selection(selection, ndim, library="fastfilters float32")
    engines: dict[str, Callable[[], object]] = {
        "ours": partial(compute_features, raw, spec, out=out),
        "bioimage_cpp": partial(with_bioimage_cpp, raw, spec),
        "ours, as in ilastik 1.2": partial(compute_features, raw, old, out=out),
    }
    if ndim == 3:
        engines["ours, as in ilastik 1.4"] = partial(compute_features, raw, now, out=out)
    if find_spec("fastfilters"):
        engines["fastfilters"] = partial(compute_features, raw, spec, "fastfilters", out=out)
    two = partial(compute_features, raw, spec, threads=2, out=out)
    for name in engines:
        if name.startswith("ours"):
            engines[name]()  # compiles, or loads what was compiled
    times: dict[str, list[float]] = {name: [] for name in engines}
    walls: dict[str, list[float]] = {"one": [], "two": []}
    for _ in range(ROUNDS):
        for name, work in engines.items():
            times[name].append(cpu_seconds(work))
        walls["one"].append(seconds(engines["ours"]))
        walls["two"].append(seconds(two))
    found = {
        f"{name}, CPU time": (statistics.median(own), median_ratio(own, times["ours"]))
        for name, own in times.items()
    }
    together = statistics.median(walls["two"]), median_ratio(walls["two"], walls["one"])
    return found | {"ours on two threads, wall-clock": together}


def main() -> None:
    print(f"{machine()}, {ROUNDS} rounds\n")
    print("| image | engine | seconds | times ours |\n|---|---|---|---|")
    for ndim, shape in SHAPES.items():
        for name, (time, ratio) in measured(ndim).items():
            print(f"| {shape} | {name} | {time:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
