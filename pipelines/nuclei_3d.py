"""Forest, 2D and 3D enhancer on nuclei of another tissue in 3D: scores and a picture.

    s2d enhancer-train pipelines/nuclei_3d.yaml --run runs/nuclei-3d
    python pipelines/nuclei_3d.py runs/nuclei-3d --out runs/nuclei-3d-ovule

Strokes are the fixed ones of ../shared/data on three planes of one volume; scores are of another volume.
nuclei-2d has learned on planes of both, nuclei-3d on none.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np

from shallow2deep import adapt, predict
from shallow2deep.evaluation.metrics import DiceCounts
from shallow2deep.evaluation.pictures import orthogonal, save_panel
from shallow2deep.io.map_files import read_map
from shallow2deep.settings import AdaptConfig, RawData, validated

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
OVULE = DATA / "lm_nuclei3d_ovule"
PAINTED, TEST = OVULE / "1135_mini.h5", OVULE / "1136_mini.h5"  # the raw of 1137 is noise
VOXEL = (283.7, 126.8, 126.8)
PLANES = (25, 50, 75)
PART, TEST_PART = "20:80", "30:70"  # z planes that are adapted to, and those that are scored


def save_strokes(path: Path, amount: str) -> Path:
    """The strokes of single planes as a volume of the raw's shape."""
    with h5py.File(DATA / "strokes" / "lm_nuclei3d_ovule.h5") as file, h5py.File(PAINTED) as raw:
        volume = np.zeros(raw["raw"].shape, np.uint8)
        volume[list(PLANES)] = file[amount][:]
    np.save(path, volume)
    return path


def maps_of_test(
    name: str, enhancer: str, strokes: Path, out: Path, scales: list[float]
) -> dict[str, np.ndarray]:
    """The maps of the test volume, by title."""
    values = {
        "ndim": 3,
        "classes": ["background", "nuclei"],
        "target": {"raw": f"{PAINTED}:raw", "strokes": str(strokes), "voxel_size": VOXEL, "slices": PART},
        "enhancer": enhancer,
        "enhanced": {"scales": scales},
    }
    run = out / name
    adapt(validated(AdaptConfig, values, name), run)
    found = {}
    for step in ("forest", "enhanced"):
        test = RawData(raw=(f"{TEST}:raw",), slices=TEST_PART)
        (path,) = predict(run, test, out / f"{name}-{step}.h5", step)
        found[f"forest, for {name}" if step == "forest" else name] = read_map(path)[0][-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("enhancer", help="run of enhancer-train with nuclei_3d.yaml")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strokes", default="medium", choices=("few", "medium", "many"))
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 0.7, 1.0])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    strokes = save_strokes(arguments.out / "strokes.npy", arguments.strokes)
    maps: dict[str, np.ndarray] = {}
    for name, enhancer in (("2D enhancer", "nuclei-2d"), ("3D enhancer", arguments.enhancer)):
        maps |= maps_of_test(name, enhancer, strokes, arguments.out, arguments.scales)
    with h5py.File(TEST) as file:
        part = slice(*map(int, TEST_PART.split(":")))
        raw, truth = file["raw"][part], file["labels/nuclei"][part] > 0
    for title, p in maps.items():
        counts = DiceCounts()
        counts.add(p, truth)
        print(f"{title:28} Dice {counts.dice:.3f}")
    depth = round(len(raw) * VOXEL[0] / VOXEL[-1])
    middle = [n // 2 for n in raw.shape]
    row = {"raw": raw, **maps, "truth": truth.astype(np.float32)}
    views = {title: orthogonal(image, middle, depth) for title, image in row.items()}
    print(save_panel(arguments.out / "views.png", [views]))


if __name__ == "__main__":
    main()
