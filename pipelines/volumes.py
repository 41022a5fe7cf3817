"""Makes the table of docs/volumes.md: forest, enhancers in 2D and 3D, and a segmentor on volumes.

    s2d enhancer-train pipelines/RECIPE.yaml --run runs/RECIPE    (for each recipe with 3d in its name)
    python pipelines/volumes.py --data ../shared/data --runs runs [--pairs PAIR …] [--enhancers FOLDER]

Strokes are the fixed ones on a few planes of a part of a volume; scores are of another part, or another
volume, without strokes. Runs that are finished are not made again. Prints Markdown, and makes a picture of
each pair.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from results import AMOUNTS

from shallow2deep import adapt, predict
from shallow2deep.evaluation.metrics import DiceCounts
from shallow2deep.evaluation.pictures import orthogonal, save_panel
from shallow2deep.inputs.results import ENHANCED, FOREST
from shallow2deep.io.map_files import read_map
from shallow2deep.outputs import foreground
from shallow2deep.settings import AdaptConfig, RawData, validated

SEGMENTOR = "segmentor-consistency"
COLUMNS = ("forest", "2D enhancer", "3D enhancer", "segmentor")
SCALES = (0.7, 1.0)
STEPS, SIDE = 100, 64  # of a segmentor's training, and its patches


@dataclass(frozen=True)
class Part:
    """Part of a volume: a file in the data, the group of its `raw` and `labels`, and a window `(z, y, x)`."""

    file: str
    window: tuple[slice, slice, slice]
    group: str = ""

    def read(self, data: Path, key: str) -> np.ndarray:
        with h5py.File(data / self.file) as file:
            return file[f"{self.group}/{key}"][self.window]


@dataclass(frozen=True)
class Pair:
    """An enhancer in 3D, one in 2D, and a volume of another kind.

    Attributes:
        recipe: of the enhancer in 3D, and the name of its run.
        flat: the enhancer in 2D: a run in the folder of `--enhancers`, or by name.
        structure: name of the labels.
        voxel: nm along z, y, x, as far as known.
        strokes: file and `(index, z)` of its planes that lie in the painted part.
    """

    recipe: str
    flat: str
    structure: str
    voxel: tuple[float, float, float] | None
    strokes: str
    planes: tuple[tuple[int, int], ...]
    painted: Part
    tests: tuple[Part, ...]


def window(z: slice, side: int | None = None) -> tuple[slice, slice, slice]:
    return z, slice(0, side), slice(0, side)


MEDULLA = "em_medulla_fibsem/medulla_ts2.h5"
OVULE = "lm_nuclei3d_ovule/{}_mini.h5"  # the raw of 1137 is noise
SBEM, SBEM_3D = "em_cdeep3m_sbem/cdeep3m_mito.h5", "em_cdeep3m_sbem/cdeep3m_mito_3d.h5"
ROOT = "lm_membrane_root/sample_patch.h5"


def medulla(recipe: str) -> Pair:
    painted, test = Part(MEDULLA, window(slice(10, 86), 160)), Part(MEDULLA, window(slice(180, 228), 160))
    return Pair(
        recipe, "membranes_em_2d-medulla", "membranes", (10, 10, 10), "em_medulla_fibsem",
        ((0, 20), (1, 75)), painted, (test,),
    )  # fmt: skip


PAIRS = {
    "nuclei, embryo to ovule": Pair(
        "nuclei_3d", "nuclei-2d", "nuclei", (283.7, 126.8, 126.8), "lm_nuclei3d_ovule",
        ((0, 25), (1, 50), (2, 75)), Part(OVULE.format(1135), window(slice(20, 80))),
        (Part(OVULE.format(1136), window(slice(20, 80))),),
    ),
    "membranes, gala to medulla": medulla("membranes_em_3d_gala"),
    "membranes, VNC to medulla": medulla("membranes_em_3d_vnc"),
    "mitochondria, VNC to CDeep3M": Pair(
        "mitochondria_em_3d", "mitochondria_em_2d-cdeep3m", "mitochondria", None, "em_cdeep3m_sbem",
        ((0, 0), (1, 5), (2, 9)), Part(SBEM, window(slice(0, 14), 512)),
        (Part(SBEM_3D, window(slice(0, 10), 512), "validation"),),
    ),
    "membranes, ovule to root": Pair(
        "membranes_lm_3d", "membranes_lm_2d-root", "membranes", None, "lm_membrane_root",
        ((0, 8), (1, 20)), Part(ROOT, window(slice(0, 27))), (Part(ROOT, window(slice(27, 41))),),
    ),
}  # fmt: skip


def prepare(pair: Pair, amount: str, data: Path, folder: Path) -> None:
    """Writes the parts as arrays of their own, and strokes as a volume."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "raw.npy", pair.painted.read(data, "raw"))
    for n, test in enumerate(pair.tests):
        np.save(folder / f"test{n}.npy", test.read(data, "raw"))
    z, y, x = pair.painted.window
    strokes = np.zeros(np.load(folder / "raw.npy").shape, np.uint8)
    with h5py.File(data / "strokes" / f"{pair.strokes}.h5") as file:
        for number, plane in pair.planes:
            strokes[plane - z.start] = file[amount][number][y, x]
    np.save(folder / "strokes.npy", strokes)


def maps(
    pair: Pair, folder: Path, enhancer: str, name: str, steps: dict[str, str]
) -> dict[str, list[np.ndarray]]:
    """Foreground maps of the test parts by some of a run's results, by the title of the column."""
    values = {
        "ndim": 3,
        "classes": ["background", pair.structure],
        "target": {"raw": f"{folder}/raw.npy", "strokes": f"{folder}/strokes.npy", "axes": "zyx"},
        "enhancer": enhancer,
        "enhanced": {"scales": SCALES},
    }
    if pair.voxel is not None:
        values["target"] |= {"voxel_size": pair.voxel}  # type: ignore[operator]
    if SEGMENTOR in steps.values():
        planes = len(np.load(folder / "raw.npy")) // 8 * 8
        patch = (min(planes, SIDE // 2), SIDE, SIDE)
        values["segmentor"] = {
            "variants": ["consistency"], "steps": STEPS, "patch": patch, "network": {"depth": 2},
            "confidence": {"use": "none"},
        }  # fmt: skip
    run = folder / name
    adapt(validated(AdaptConfig, values, name), run)
    found: dict[str, list[np.ndarray]] = {}
    for title, step in steps.items():
        found[title] = []
        for n in range(len(pair.tests)):
            path = folder / f"{name}-{step}-{n}.h5"
            if not path.exists():
                predict(
                    run,
                    RawData(raw=(f"{folder}/test{n}.npy",), axes="zyx", voxel_size=pair.voxel),
                    path,
                    step,
                )
            found[title].append(foreground(*read_map(path))[0])
    return found


def compared(title: str, amount: str, data: Path, runs: Path, enhancers: Path) -> Iterator[tuple[str, float]]:
    """The Dice of each column over all test parts of a pair; makes a picture."""
    pair = PAIRS[title]
    folder = runs / "volumes" / title.replace(",", "").replace(" ", "-") / amount
    prepare(pair, amount, data, folder)
    flat = str(enhancers / pair.flat) if (enhancers / pair.flat).is_dir() else pair.flat
    in_3d = {"forest": FOREST, "3D enhancer": ENHANCED, "segmentor": SEGMENTOR}
    found = maps(pair, folder, str(runs / pair.recipe), "3d", in_3d)
    found |= maps(pair, folder, flat, "2d", {"2D enhancer": ENHANCED})
    truths = [test.read(data, f"labels/{pair.structure}") > 0 for test in pair.tests]
    for column in COLUMNS:
        counts = DiceCounts()
        for p, truth in zip(found[column], truths, strict=True):
            counts.add(p, truth)
        yield column, counts.dice
    raw, voxel = np.load(folder / "test0.npy"), pair.voxel or (1.0, 1.0, 1.0)
    depth = round(len(raw) * voxel[0] / voxel[-1])
    row = {"raw": raw, **{c: found[c][0] for c in COLUMNS}, "truth": truths[0].astype(np.float32)}
    middle = [n // 2 for n in raw.shape]
    save_panel(folder / "views.png", [{c: orthogonal(image, middle, depth) for c, image in row.items()}])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--enhancers", type=Path, help="runs of enhancers in 2D; RUNS if not given")
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=PAIRS, metavar="PAIR")
    parser.add_argument("--amounts", nargs="+", default=["medium"], choices=AMOUNTS)
    arguments = parser.parse_args()
    print(f"| from, to | strokes | {' | '.join(COLUMNS)} |\n|{'---|' * (2 + len(COLUMNS))}", flush=True)
    for title in arguments.pairs:
        for amount in arguments.amounts:
            cells = compared(
                title, amount, arguments.data, arguments.runs, arguments.enhancers or arguments.runs
            )
            scores = " | ".join(f"{dice:.3f}" for _, dice in cells)
            print(f"| {title} | {amount} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
