"""From a stroke to the maps: how long one waits for forest and enhanced map of what is seen.

    python benchmarks/painting.py [--strokes 50]

Strokes are sent to the routes that the page uses, each followed by the forest's map and the enhanced one of
the same view, at one scale and without the companion. The first stroke, which finds no features in memory, is
told apart.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fastapi.testclient import TestClient

from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.live import Live
from shallow2deep.service.painting import Painting
from shallow2deep.service.places import Places

CASES = [(512, 512), (1024, 1024), (4096, 1024)]  # side of the image, and of the view
_FIRST = 3


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else "unknown"


def discs(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    inside = (y % 60 - 30) ** 2 + (x % 60 - 30) ** 2 < 18**2
    noise = np.random.default_rng(0).normal(0, 25, (side, side))
    return (60 + 80 * inside + noise).clip(0, 255).astype(np.uint8)


def measured(side: int, view: int, count: int, scale: float) -> np.ndarray:
    """Seconds from each stroke to both maps, `(strokes, 2)`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.npy"
        np.save(path, discs(side))
        live = Live(Painting([str(path)], Path(folder) / "project"))
        live.warm_up()
        jobs = Jobs(Places(Path(folder) / "project", [Path(folder)]))
        client = TestClient(create_app(jobs, Rules(hosts=("testserver",)), live))
        start = (side - view) // 2
        part = {"y": [start, start + view], "x": [start, start + view], "scale": scale}
        _paint(client, start, view, 0)
        took = []
        for n in range(1, count + 1):
            begun = time.perf_counter()
            _paint(client, start, view, n)
            wish = {"client": "one", "turn": n, "image": 0, **part}
            assert client.post("/painting/live/forest", json=wish).status_code == 200
            forest = time.perf_counter() - begun
            assert client.post("/painting/live/enhanced", json=wish).status_code == 200
            took.append((forest, time.perf_counter() - begun))
        return np.array(took)


def _paint(client: TestClient, start: int, view: int, n: int) -> None:
    """A stroke of 40 x 8 pixels, by turns on discs and between them."""
    generator = np.random.default_rng(n)
    y, x = (start + int(v) // 60 * 60 for v in generator.integers(0, view - 60, 2))
    top, left, value = (y + 26, x + 18, 2) if n % 2 else (y + 56, x + 10, 1)
    spans = [(top + line, left, left + 24, value) for line in range(8) if top + line < start + view]
    body = {"client": "one", "image": 0, "spans": spans}
    assert client.post("/painting/strokes", json=body).status_code == 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--strokes", type=int, default=50)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    print(f"{processor()}; {arguments.strokes} strokes, enhancer nuclei-2d at scale {arguments.scale:g}\n")
    print("| image | view | forest: median | 90 % | first | enhanced: median | 90 % | first |")
    print("|---|---|---|---|---|---|---|---|")
    for side, view in CASES:
        took = measured(side, view, arguments.strokes, arguments.scale)
        first, rest = took[0], took[_FIRST:]
        cells = [
            f"{value:.2f} s"
            for n in range(2)
            for value in (np.median(rest[:, n]), np.quantile(rest[:, n], 0.9), first[n])
        ]
        print(f"| {side} x {side} | {view} x {view} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
