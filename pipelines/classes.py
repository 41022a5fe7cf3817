"""Several structures at once: mitochondria and membranes of VNC, each by an enhancer of its own.

    python pipelines/classes.py --data ../shared/data --runs runs --mitochondria RUN --membranes RUN

Strokes of three classes are drawn into three planes by this script, and the other planes are scored. Give
enhancers that have not learned on VNC, as `pipelines/results.py --leave-one-out` trains them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from results import AMOUNTS

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.commands.predict import predict
from shallow2deep.forests.simulation import draw_strokes
from shallow2deep.io.atomic import atomic_path, read_json
from shallow2deep.settings import AdaptConfig, RawData, StrokeSettings, validated

HERE = Path(__file__).parent
CLASSES = ("background", "mitochondria", "membranes")
LABELS = {"mitochondria": "mitochondria", "membranes": "membranes_strict"}
PAINTED, TEST = "0,7,14", "16:20"
STEPS = ("forest", "enhanced", "recommended")


def draw(file: Path, path: Path) -> None:
    """As many strokes of each class as the other targets have."""
    planes = [int(z) for z in PAINTED.split(",")]
    with h5py.File(file) as data:
        of_class = [data[f"labels/{key}"][planes] > 0 for key in LABELS.values()]
    classes = np.where(of_class[1], 2, of_class[0]).astype(np.uint8)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as out:
        for number, (amount, count) in enumerate(AMOUNTS.items()):
            settings = StrokeSettings(count=(count, count), imbalance=1, width=(3, 3))
            drawn = draw_strokes(classes, len(CLASSES), settings, np.random.default_rng(number))
            out.create_dataset(amount, data=drawn, compression="gzip")


def rows(amount: str, file: Path, strokes: Path, options: argparse.Namespace) -> Iterator[str]:
    """One for each class, with what was chosen for it."""
    run = options.runs / "classes" / amount
    values = {
        "classes": CLASSES,
        "target": {"raw": f"{file}:raw", "strokes": f"{strokes}:{amount}", "slices": PAINTED},
        "enhancer": {name: str(getattr(options, name)) for name in LABELS},
    }
    adapt(validated(AdaptConfig, values, "classes.py"), run)
    chosen = read_json(run / "prediction" / "choice.json")["of_classes"]
    raw = RawData(raw=(f"{file}:raw",), slices=TEST)
    maps = {step: predict(run, raw, run / "test" / step, step) for step in STEPS}
    for name, key in LABELS.items():
        truth = RawData(raw=(f"{file}:labels/{key}",), slices=TEST)
        dice = [
            evaluate(RawData(raw=tuple(map(str, maps[step]))), truth, channel=name)["all"]["dice"]
            for step in STEPS
        ]
        cells = " | ".join(f"{value:.3f}" for value in dice)
        yield f"| {amount} | {name} | {cells} | {chosen[name]['recommended']} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    for name in LABELS:
        parser.add_argument(f"--{name}", type=Path, required=True, help="its enhancer")
    parser.add_argument("--amounts", nargs="*", default=list(AMOUNTS), help="of strokes")
    options = parser.parse_args()
    file, strokes = (options.data / "em_vnc" / "vnc_stack1.h5").resolve(), options.runs / "classes_strokes.h5"
    if not strokes.exists():
        options.runs.mkdir(parents=True, exist_ok=True)
        draw(file, strokes)
    print(f"| strokes | class | {' | '.join(STEPS)} | chosen |\n|{'---|' * 6}")
    for amount in options.amounts:
        print("\n".join(rows(amount, file, strokes, options)), flush=True)


if __name__ == "__main__":
    main()
