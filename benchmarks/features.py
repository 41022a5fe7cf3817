"""ilastik's full feature set: our kernels beside bioimage_cpp and, where it is installed, fastfilters.

    pip install '.[benchmarks]' && python benchmarks/features.py

Every round runs all engines in turn; a line gives the medians over rounds of an engine's time and of its
ratio to ours.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np

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


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall-clock time."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {ROUNDS} rounds\n")
    print("| image | engine | seconds | times ours |\n|---|---|---|---|")
    for ndim, shape in SHAPES.items():
        raw = np.random.default_rng(0).random(shape, np.float32)
        spec = FeatureSpec.ilastik(ndim=ndim)
        out = np.empty((spec.n_features, *shape), np.float32)  # new memory would cost as much as the filters
        engines: dict[str, Callable[[], object]] = {
            "ours": partial(compute_features, raw, spec, out=out),
            "bioimage_cpp": partial(with_bioimage_cpp, raw, spec),
        }
        selection = [(one.name, one.scale, False) for one in spec.filters]
        old = FeatureSpec.of_selection(selection, ndim, library="vigra")
        engines["ours, as in ilastik 1.2"] = partial(compute_features, raw, old, out=out)
        if find_spec("fastfilters"):
            engines["fastfilters"] = partial(compute_features, raw, spec, "fastfilters", out=out)
        engines["ours"]()  # compiles, or loads what was compiled
        times: dict[str, list[float]] = {name: [] for name in engines}
        walls: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for name, work in engines.items():
                times[name].append(seconds(work)[0])
            for threads, found in walls.items():
                found.append(seconds(partial(compute_features, raw, spec, threads=threads, out=out))[1])
        for name, found in times.items():
            ratio = statistics.median(a / b for a, b in zip(found, times["ours"], strict=True))
            print(f"| {shape} | {name}, CPU time | {statistics.median(found):.3f} | {ratio:.1f} |")
        ratio = statistics.median(b / a for a, b in zip(walls[1], walls[2], strict=True))
        print(
            f"| {shape} | ours on two threads, wall-clock | {statistics.median(walls[2]):.3f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
