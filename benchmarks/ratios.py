"""One table of what we are beside our peers, and of the bounds we promise; a quarter of an hour.

    pip install '.[benchmarks]' && python benchmarks/ratios.py RUN [--data ../shared/data]

RUN is a finished run of pipelines/mitochondria_vnc.yaml. Ratios are medians over rounds that run both in
turn; the scripts beside this one print what lies behind them.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from common import machine, median_ratio, run_and_data, seconds
from features import measured
from forests import COUNT, RECIPE, growing, predictions
from start import CALLS, first_call
from training import feeding, steps

MEMORY = """
import tracemalloc
import numpy as np
from shallow2deep.features import FeatureSpec
from shallow2deep.forests import fit_forest
from shallow2deep.inference.forest_maps import predict_probabilities

spec = FeatureSpec.ilastik(ndim=len({shape}))
x = np.random.default_rng(0).random((99, spec.n_features), np.float32)
forest = fit_forest(x, np.arange(99) % 2, spec, ("a", "b"), n_trees=5)
raw = np.random.default_rng(0).random({shape}, np.float32)
tracemalloc.start()
predict_probabilities(forest, raw)
print(tracemalloc.get_traced_memory()[1] / 2**30, spec.n_features * raw.nbytes / 2**30)
"""


def rows(run: Path, data: Path) -> Iterator[tuple[str, str, str]]:
    """What was compared, with what, and the result."""
    for ndim, shape in ((2, "1024x1024"), (3, "64x256x256")):
        found = measured(ndim)
        for engine in ("bioimage_cpp", "fastfilters"):
            if (key := f"{engine}, CPU time") in found:
                yield f"49 or 61 features of {shape}", engine, f"{found[key][1]:.1f} times as fast"
        one, two = "one thread, wall-clock", "ours on two threads, wall-clock"
        yield f"49 or 61 features of {shape}, two threads", one, f"{1 / found[two][1]:.1f} times as fast"
    forests = dict(predictions(data))
    unlimited, default = forests["scikit-learn's defaults"], forests["our default"]
    yield (
        "forest of 100 unlimited trees",
        "scikit-learn, same forest",
        f"{unlimited.to_same:.1f} times as fast",
    )
    yield "our default forest", "scikit-learn's defaults", f"{default.to_defaults:.1f} times as fast"
    ours, theirs = growing(RECIPE, COUNT)
    peer = "scikit-learn's defaults, same samples"
    yield f"growing {COUNT} source forests", peer, f"{theirs / ours:.1f} times as fast"
    times = feeding(run, data)
    yield (
        "samples for the enhancer",
        "torch-em",
        f"{median_ratio(times['torch-em'], times['ours']):.0f} times as fast",
    )
    waiting = [line for line in (run / "log.txt").read_text().splitlines() if "waiting for samples" in line]
    yield "training", "waiting for samples", waiting[-1].partition("; ")[2]
    slow, fast = steps().values()
    yield "step in bfloat16", "float32, contiguous", f"{median_ratio(slow, fast):.1f} times as fast"
    for shape in ((6000, 6000), (200, 200, 200)):
        code = MEMORY.format(shape=shape)
        took, whole = map(float, subprocess.check_output([sys.executable, "-c", code]).split())
        yield f"memory to predict {shape}", f"all features: {whole:.1f} GB", f"{took:.1f} GB"
    help_ = min(seconds(lambda: subprocess.run(["s2d", "--help"], stdout=-3, check=True)) for _ in range(3))
    yield "s2d --help", "", f"{help_:.2f} s"
    with tempfile.TemporaryDirectory() as cache:
        for name, code in CALLS.items():
            whole, slowest = first_call(code, cache)
            yield f"first call, {name}", "its slowest kernel", f"{whole:.1f} s, {slowest:.1f} s"


def main() -> None:
    options = run_and_data(__doc__)
    torch.set_num_threads(1)
    print(f"{machine()}\n\n| work | beside | result |\n|---|---|---|")
    for row in rows(options.run, options.data):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
