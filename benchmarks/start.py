"""How long it takes until something happens: `s2d --help`, and the first call of each kernel.

    pip install . && python benchmarks/start.py

Every call is a process of its own; first without compiled kernels on disk, then with them.
"""

import os
import subprocess
import sys
import tempfile
import time

from common import machine

IMAGE = "import numpy as np; from shallow2deep.features import FeatureSpec, compute_features as f; "
FOREST = (
    "import numpy as np; from shallow2deep.features import FeatureSpec as S; "
    "from shallow2deep.forests import fit_forest, predict_features as p; "
    "x = np.random.rand(99, 7).astype('f'); s = S.ilastik(filters=['GaussianSmoothing']); "
    "forest = fit_forest(x, np.arange(99) % 2, s, ('a', 'b')); y = np.zeros((7, 32, 32), 'f'); "
)
CALLS = {
    "filters, 2D": IMAGE + "s = FeatureSpec.ilastik(); y = np.zeros((32, 32), 'f'); CALL f(y, s)",
    "filters, 3D": IMAGE + "s = FeatureSpec.ilastik(ndim=3); y = np.zeros((32, 32, 32), 'f'); CALL f(y, s)",
    "forest": FOREST + "CALL p(forest, y)",
}


SLOWEST = (
    "import shallow2deep.features.kernels as a, shallow2deep.forests.kernel as b; "
    "kernels = [d for m in (a, b) for d in vars(m).values() if hasattr(d, 'overloads')]; "
    "compiled = filter(None, (d.get_metadata(s) for d in kernels for s in d.overloads)); "
    "print(max((m['timers']['compiler_lock'] for m in compiled), default=0))"
)


def first_call(code: str, cache: str) -> list[float]:
    """Seconds of the call, and of compiling its slowest kernel."""
    timed = code.replace("CALL", "import time; t = time.perf_counter();")
    timed += f"; print(time.perf_counter() - t); {SLOWEST}"
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    return [float(n) for n in subprocess.check_output([sys.executable, "-c", timed], env=environment).split()]


def main() -> None:
    print(f"{machine()}\n")
    start = time.perf_counter()
    subprocess.run(["s2d", "--help"], stdout=subprocess.DEVNULL, check=True)
    print(f"s2d --help: {time.perf_counter() - start:.2f} s\n")
    print(
        "| first call | nothing compiled, s | its slowest kernel, s | compiled before, s |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as cache:
        for name, code in CALLS.items():
            first, slowest = first_call(code, cache)
            print(f"| {name} | {first:.1f} | {slowest:.1f} | {first_call(code, cache)[0]:.2f} |")


if __name__ == "__main__":
    main()
