"""A large image, sparse on disk, into a map: time by blocks, and the most memory that is used.

    python benchmarks/large.py [--side 4000] [--enhancer nuclei-2d] [--blocks 1 4 16]

A forest is trained on a made image of discs; the large image repeats it in one corner, and is zero, and so
not stored, elsewhere. Each size runs in a process of its own, so that the memory is its own. `--side 20000`
takes hours on two cores.
"""

import argparse
import resource
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import zarr
from common import machine

import shallow2deep as s2d
from shallow2deep.commands.predict_blocks import known_of_unfinished, predict_in_blocks
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inference.forest_maps import ForestPredictor, learned_by
from shallow2deep.inference.plans import enhanced_steps, forest_steps
from shallow2deep.inference.runners import Threads
from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.results import ImagePredictor
from shallow2deep.outputs import completed, of_forest
from shallow2deep.settings import RawData

TILE = 512


def discs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Raw uint8 with bright discs, and strokes on it."""
    y, x = np.indices((TILE, TILE))
    inside = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2) < 81
    raw = (80 + 60 * inside + rng.normal(0, 15, inside.shape)).clip(0, 255).astype(np.uint8)
    strokes = np.where(y % 64 // 2 == 8, np.where(inside, 2, 1), 0).astype(np.uint8)
    return raw, strokes


def sparse(path: Path, side: int, tile: np.ndarray) -> Path:
    array = zarr.create_array(
        str(path), shape=(side, side), dtype=np.uint8, chunks=(TILE, TILE), zarr_format=2, fill_value=0
    )
    part = min(side, 2 * TILE)
    array[:part, :part] = np.tile(tile, (2, 2))[:part, :part]
    return path


def measure(side: int, enhancer: str | None, threads: int) -> tuple[float, float]:
    """Seconds, and the most GB of memory, of an image from raw to the finished map."""
    raw, strokes = discs(np.random.default_rng(0))
    forest = s2d.train_forest(raw, strokes, s2d.FeatureSpec.ilastik((0.7, 1.6, 3.5), 2), n_trees=50, seed=0)
    s2d.predict_probabilities(forest, raw[:64, :64])  # compiles the kernels
    plan, outputs = partial(forest_steps, ForestPredictor(forest)), of_forest(forest.classes)
    if enhancer is not None:
        network, spec = s2d.load_enhancer(enhancer)
        one = Enhancers((s2d.Enhancer(network, spec.outputs),))
        plan, outputs = partial(enhanced_steps, plan, one), one.outputs(forest.classes)
    how = ImagePredictor(lambda raw: raw, outputs, 2, learned_by(forest), plan=plan)
    with tempfile.TemporaryDirectory() as folder:
        path, out = sparse(Path(folder) / "raw.zarr", side, raw), Path(folder) / "map.zarr"
        started, known = time.perf_counter(), known_of_unfinished(out)
        (image,) = open_images(RawData(raw=(str(path),)), 2, "grey", known, in_memory=False)
        predict_in_blocks(image, how, out, False, Threads(threads), known, s2d.Bar())
        seconds = time.perf_counter() - started
        assert len(completed(outputs, "ground")) == zarr.open_group(out, mode="r")["0"].shape[0]
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=4000, help="of the largest image")
    parser.add_argument("--enhancer", help="also by this one, at its default scales")
    parser.add_argument(
        "--blocks", type=int, nargs="*", default=[1, 4, 16], help="smaller images, of 512² each"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(machine())
    sides = sorted({*(round(n**0.5) * TILE for n in arguments.blocks), arguments.side})
    print(f"{'side':>6} {'Mpixel':>8} {'seconds':>8} {'Mpixel/s':>9} {'GB':>6}")
    for side in sides:
        with get_context("spawn").Pool(1) as pool:
            seconds, memory = pool.apply(measure, (side, arguments.enhancer, arguments.threads))
        size = side**2 / 1e6
        print(f"{side:6} {size:8.2f} {seconds:8.1f} {size / seconds:9.3f} {memory:6.2f}", flush=True)


if __name__ == "__main__":
    main()
