"""Makes the tables of docs/objects.md: objects in maps, beside those by scikit-image's example.

    python pipelines/objects.py --data ../shared/data --runs runs [--picture docs/images/objects.jpg]

RUNS has what `pipelines/results.py --leave-one-out` left there: maps of test images by enhancers that have
not learned on images of their kind. The forests of volumes are grown here. Minutes; prints Markdown.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from results import AMOUNTS, HERE, left_out, under
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.segmentation import find_boundaries, watershed
from walkthrough import shrink

from shallow2deep import FeatureSpec, predict_probabilities, train_forest
from shallow2deep.evaluation.instance_scores import instance_scores, overlap_table
from shallow2deep.evaluation.pictures import save_panel
from shallow2deep.forests.simulation import draw_strokes
from shallow2deep.inputs.results import ENHANCED, FOREST
from shallow2deep.io.map_files import read_map
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import foreground
from shallow2deep.segmentation.instances import instances
from shallow2deep.settings import ObjectsSettings, StrokeSettings

NUCLEI = ("fluo-360", "fluo-512x640", "fluo-embryo", "fluo-purple")
EMBRYO_VOXEL = (1750.0, 800.0, 800.0)  # nm, by BBBC050
COLUMNS = (
    "forest, Otsu + watershed",
    "forest, 0.5 + watershed",
    "forest, ours",
    "enhanced, 0.5 + watershed",
    "enhanced, ours",
)
CELLS = ObjectsSettings(kind="cells")


def recipe(p: np.ndarray, threshold: float) -> np.ndarray:
    """Threshold, distance transform, peaks at least 10 pixels apart, watershed: scikit-image's example."""
    mask = p > threshold
    distance = ndi.distance_transform_edt(mask)
    peaks = peak_local_max(distance, min_distance=10, labels=label(mask), exclude_border=False)
    markers = np.zeros(p.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=mask)


def found_in(forest: np.ndarray, enhanced: np.ndarray) -> dict[str, np.ndarray]:
    """The objects by each way of `COLUMNS`."""
    ways = (
        recipe(forest, threshold_otsu(forest)),
        recipe(forest, 0.5),
        instances(forest),
        recipe(enhanced, 0.5),
        instances(enhanced),
    )
    return dict(zip(COLUMNS, ways, strict=True))


def images(name: str, amount: str, data: Path, runs: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The test images of a kind: raw's name, maps of forest and enhancer `(2, y, x)`, and labels."""
    pair = left_out(data, runs)[name]
    for raw, truth in zip(under(data, pair.test_raw), under(data, pair.test_labels), strict=True):
        test = runs / name / f"{amount}-0" / "test"
        maps = [foreground(*read_map(test / step / f"{Path(raw).stem}.h5"))[0] for step in (FOREST, ENHANCED)]
        yield raw, np.stack(maps), open_volume(truth).read()


def nuclei(data: Path, runs: Path) -> Iterator[str]:
    """AP at 0.5 and mean AP of each way, for each kind and amount of strokes."""
    everything: list[dict[str, tuple[float, float]]] = []
    for name in NUCLEI:
        for amount in AMOUNTS:
            tables: dict[str, list] = {way: [] for way in COLUMNS}
            for _, (forest, enhanced), truth in images(name, amount, data, runs):
                for way, found in found_in(forest, enhanced).items():
                    tables[way].append(overlap_table(found, truth))
            scores = {way: instance_scores(of_way) for way, of_way in tables.items()}
            everything.append({w: (s["ap_50"], s["average_precision"]) for w, s in scores.items()})
            yield row(f"{name} | {amount}", everything[-1].values())
    means = [np.mean([one[way] for one in everything], axis=0) for way in COLUMNS]
    yield row("**mean** | ", means)


def row(start: str, pairs: Iterable[tuple[float, float]]) -> str:
    return f"| {start} | {' | '.join(f'{a:.3f} / {b:.3f}' for a, b in pairs)} |"


def cells(data: Path, runs: Path) -> Iterator[str]:
    """Cells by membranes of the medulla, in single planes."""
    pair = left_out(data, runs)["medulla-membranes"]
    start, stop, step = map(int, str(pair.test_slices).split(":"))
    truth = open_volume(f"{data}/em_medulla_fibsem/medulla_ts2.h5:labels/bodies").read()[start:stop:step]
    planes = [label(plane, connectivity=1, background=-1) * (plane > 0) for plane in truth]
    for amount in AMOUNTS:
        for name in (FOREST, ENHANCED):
            path = runs / "medulla-membranes" / f"{amount}-0" / "test" / name / "medulla_ts2.h5"
            p = foreground(*read_map(path))[0]
            tables = [
                overlap_table(instances(one, settings=CELLS), t) for one, t in zip(p, planes, strict=True)
            ]
            s = instance_scores(tables)
            values = (s["ap_50"], s["vi_split"], s["vi_merge"], s["adapted_rand_error"])
            yield f"| {amount} | {name} | {' | '.join(f'{v:.3f}' for v in values)} |"


def volumes(data: Path) -> Iterator[str]:
    """Nuclei of embryos, each by a forest of 10 strokes of each class in the other, plane by plane."""
    for painted, name in (("16_cell", "8_cell"), ("8_cell", "16_cell")):
        raw, labels = stack(data, painted)
        settings = StrokeSettings(count=(10, 10), imbalance=1, width=(3, 3))
        strokes = draw_strokes((labels > 0).astype(np.uint8), 2, settings, np.random.default_rng(0))
        planes = np.flatnonzero(strokes.any((1, 2)))
        forest = train_forest(list(raw[planes]), list(strokes[planes]), FeatureSpec.ilastik())
        raw, labels = stack(data, name)
        p = np.stack([predict_probabilities(forest, plane)[1] for plane in raw])
        by_planes = ObjectsSettings(by_planes=True)
        ways = {
            "connected parts at 0.5": label(p > 0.5, connectivity=1),
            "0.5 + watershed": recipe(p, 0.5),
            "ours": instances(p, voxel_size=EMBRYO_VOXEL),
            "ours, by planes": instances(p, settings=by_planes, voxel_size=EMBRYO_VOXEL),
        }
        for way, found in ways.items():
            s = instance_scores([overlap_table(found, labels)])
            values = (s["ap_50"], s["matched_dice"], s["vi_split"], s["vi_merge"])
            cells_ = " | ".join(f"{v:.3f}" for v in values)
            yield f"| {name} | {way} | {s['objects']} of {s['true_objects']} | {cells_} |"


def stack(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw and nuclei, which do not touch each other, with a number each."""
    file = f"{data}/lm_nuclei3d_embryo/{name}_stage.h5"
    raw, nuclei_ = (open_volume(f"{file}:{key}").read() for key in ("raw", "labels/nuclei"))
    return raw, label(nuclei_ > 0, connectivity=1)


def picture(path: Path, data: Path, runs: Path) -> None:
    """Outlines of objects over raw, in one test image of each kind of nuclei."""
    rows = []
    for name in NUCLEI:
        file, (forest, enhanced), truth = next(images(name, "medium", data, runs))
        found = found_in(forest, enhanced) | {"labels": truth}
        raw = open_volume(file).grey().read()
        view = tuple(slice(max(0, n // 2 - 128), n // 2 + 128) for n in raw.shape)
        shown = {"raw": raw[view]} | {
            way: outlines(raw[view], found[way][view]) for way in (*COLUMNS[1:], "labels")
        }
        rows.append(shown)
    shrink(save_panel(path.with_suffix(".png"), rows, NUCLEI), path)


def outlines(raw: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Raw with lines at 1, from 0 to 1."""
    low, high = np.percentile(raw, (0.5, 99.5))
    return np.where(find_boundaries(labels, mode="inner"), 1, ((raw - low) / (high - low)).clip(0, 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--picture", type=Path, help="JPEG of outlines")
    options = parser.parse_args()
    print(f"| left out | strokes | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}")
    for line in nuclei(options.data, options.runs):
        print(line, flush=True)
    print("\n| strokes | map | AP at 0.5 | VI split | VI merge | adapted Rand error |")
    print(f"|{'---|' * 6}")
    for line in cells(options.data, options.runs):
        print(line, flush=True)
    print("\n| embryo | way | objects | AP at 0.5 | matched Dice | VI split | VI merge |")
    print(f"|{'---|' * 7}")
    for line in volumes(options.data):
        print(line, flush=True)
    if options.picture:
        picture(options.picture, options.data, options.runs)


if __name__ == "__main__":
    main()
